// SPDX-License-Identifier: Apache-2.0
// What Sonde itself costs: run time of its BPF programs, measured for a second now and then (the kernel's statistics
// cost some 75 ns per run while they are on), and the agent's own CPU time. Feeds the budget.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "agent/kernel/engine.h"
#include "agent/pipeline/budget.h"

namespace sonde {

struct ModuleUse {
  double runs_per_second = 0;
  double ns_per_second = 0;  // BPF time, all CPUs
  double mean_ns = 0;        // per run
  uint64_t runs = 0;         // estimate since the start
  uint64_t run_ns = 0;
};

// Totals of one module's programs, from the kernel's statistics.
struct ProgramTotals {
  uint64_t runs = 0;
  uint64_t ns = 0;
};

// What `last` becomes when the totals went from `before` to `after` in a sample of `sample_ns`, which stands for all of
// the `since_ns` since the sample before. Totals that went back (programs loaded again) count as nothing.
ModuleUse sampled_use(const ModuleUse& last, const ProgramTotals& before, const ProgramTotals& after,
                      uint64_t sample_ns, uint64_t since_ns);

class Overhead {
 public:
  Overhead(const Engine& engine, double budget_milli_cpu);

  // Call at next_ns(). True: the budget's steps changed.
  bool tick(uint64_t now_ns);
  // When tick() has something to do next; 0: at once.
  uint64_t next_ns() const;
  const std::vector<OverheadStep>& steps() const { return budget_.steps(); }
  const BudgetController& budget() const { return budget_; }
  double milli_cpu() const { return milli_cpu_; }  // the budget; 0: none
  void set_budget(double milli_cpu) {
    milli_cpu_ = milli_cpu;
    budget_.set_budget(milli_cpu);
  }
  // By module name, "core" too. Of the last sample.
  const std::map<std::string, ModuleUse>& use() const { return use_; }

 private:
  std::map<std::string, ProgramTotals> read() const;
  bool finish_sample(uint64_t now_ns);

  const Engine& engine_;
  BudgetController budget_;
  double milli_cpu_;
  std::map<std::string, ModuleUse> use_;
  Fd measuring_;
  std::map<std::string, ProgramTotals> before_;
  uint64_t sample_begin_ = 0;
  uint64_t next_sample_ = 0;
  uint64_t last_tick_ = 0;
  uint64_t last_cpu_ns_ = 0;
};

}  // namespace sonde
