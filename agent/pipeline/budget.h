// SPDX-License-Identifier: Apache-2.0
// Keeps the agent within its overhead budget (milli-CPU of BPF programs and of the agent itself), and a module that
// keeps failing out of the way. Pure: numbers in, steps out; the runtime obeys.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sonde {

// What a module may do. Counters that remain are exact in every step.
enum class OverheadStep : uint8_t {
  Full,     // as the policies ask
  Sampled,  // histograms take one operation in ten times as many
  Lowered,  // and one level lower
  Off,
};
std::string step_name(OverheadStep step);

inline constexpr uint32_t kSampleFactor = 10;  // of OverheadStep::Sampled and Lowered

struct ModuleCost {
  uint64_t bpf_ns = 0;  // in its programs since the last tick, all CPUs
  bool wanted = false;  // requested by some policy
  bool has_histograms = true;
};

struct BudgetOptions {
  double milli_cpu = 0;       // 0: no budget
  int patience = 3;           // ticks above the budget before something is taken away
  double recovery = 0.7;      // something is given back when it would stay below this part of the budget …
  int recovery_ticks = 6;     // … for so many ticks
  int max_trial_ticks = 360;  // when that can't be foretold it is tried, each time after twice as many ticks up to this
};

class BudgetController {
 public:
  BudgetController(std::size_t modules, BudgetOptions options);

  // `agent_cpu_ns`: the agent's own CPU time since the last tick. True if any step changed.
  bool tick(std::span<const ModuleCost> modules, uint64_t agent_cpu_ns, uint64_t elapsed_ns);

  const std::vector<OverheadStep>& steps() const { return steps_; }
  double used_milli_cpu() const { return used_; }
  bool over_budget() const;  // any step is not Full: condition OverBudget
  // A sentence for status; empty while the module is at Full.
  std::string reason(std::size_t module) const;
  void set_budget(double milli_cpu);

 private:
  struct Taken {
    std::size_t module;
    OverheadStep before;
    double cost;  // milli-CPU of the module before the step
  };
  bool forget_unwanted(std::span<const ModuleCost> modules);
  bool take_from_costliest(std::span<const ModuleCost> modules);
  bool give_back();

  BudgetOptions options_;
  std::vector<OverheadStep> steps_;
  std::vector<double> cost_;  // milli-CPU in the last tick
  std::vector<int> trial_;    // ticks below the budget before the next trial
  std::vector<int> full_;     // ticks at Full since it was given back
  std::vector<Taken> taken_;  // latest last
  double used_ = 0;
  int over_ = 0;   // ticks in a row above the budget
  int under_ = 0;  // ... below it
  int safe_ = 0;   // ... in which the latest step could have been given back
};

// Switches off a module whose collections fail again and again; tries it again after a growing time.
struct BackoffOptions {
  int failures = 3;  // in a row, before it is switched off
  uint64_t first_ns = 30'000'000'000;
  uint64_t longest_ns = 3600'000'000'000;
};

class FailureBackoff {
 public:
  explicit FailureBackoff(BackoffOptions options = {}) : options_(options) {}

  void succeeded(uint64_t now_ns);
  void failed(uint64_t now_ns, std::string why);

  // May it be collected now?
  bool allowed(uint64_t now_ns) const { return now_ns >= off_until_; }
  uint64_t off_until() const { return off_until_; }
  // A sentence for the condition; empty while it works.
  std::string reason(uint64_t now_ns) const;

 private:
  BackoffOptions options_;
  int in_a_row_ = 0;
  int rounds_ = 0;  // times it was switched off without a success since
  uint64_t off_until_ = 0;
  std::string why_;
};

}  // namespace sonde
