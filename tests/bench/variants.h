// SPDX-License-Identifier: Apache-2.0
// What is measured side by side: variants of one machine, each attached and taken away again, in interleaved rounds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/kernel/engine.h"
#include "agent/policy/policy.h"
#include "tests/bench/worker.h"

namespace sonde::bench {

using Json = nlohmann::ordered_json;

struct Variant {
  std::string name;
  std::function<bool()> attach;  // false: not on this machine
  std::function<void()> detach;
  bool slow = false;                                     // another process: attached once, for all its rounds
  bool reference = false;                                // ratios of those after it refer to it
  std::function<std::vector<ProgramRuns>()> programs{};  // what the kernel counts of its programs; none: not known
  std::vector<double> ns{};
};

Variant nothing();

// `n` calls or switches for each variant in each round; their nanoseconds go to Variant::ns.
void measure(std::vector<Variant>& variants, const Worker& worker, uint64_t n, int rounds);

// What a run of each program takes by the kernel's own statistics, which add a clock read to it (an empty program shows
// how much), and how many runs a piece of work is. Prints a table and returns its rows; leaves out programs that do not run.
Json report_programs(std::vector<Variant>& variants, const Worker& worker, uint64_t n, int rounds);

// The lower quartile; negative if there is none.
double quartile(std::vector<double> ns);

// Prints a table and returns its rows. The first variant is nothing.
Json report(const std::string& title, const std::vector<Variant>& variants);

// Two cgroups for the time of a run: the worker's, and another one.
class Boxes {
 public:
  // Leaves the program with a sentence where there is no cgroup v2 tree or no right to load programs.
  Boxes();
  ~Boxes();
  Boxes(const Boxes&) = delete;
  Boxes& operator=(const Boxes&) = delete;
  const std::string& worker() const { return worker_; }
  const std::string& other() const { return other_; }

 private:
  std::string worker_, other_;
};

// Sonde's own programs, loaded once for all variants.
class Probes {
 public:
  explicit Probes(const Boxes& boxes);

  // One probe at this level (`opt_in`: with every metric that no level has); measured is the worker's cgroup, or only
  // the other one.
  Variant variant(const std::string& name, const std::string& probe, Level level, bool selected, bool opt_in = false);
  // The hooks that such a variant attaches; empty where it attaches nothing.
  std::vector<std::string> hooks(const std::string& probe, Level level, bool opt_in = false);
  // Likewise for all probes, as a policy with this preset asks for them.
  Variant preset(const std::string& name, Level level, bool selected);
  std::vector<std::string> preset_hooks(Level level);
  Engine& engine() { return *engine_; }

 private:
  static SlotSetting setting(const Policy& policy);
  static SlotSetting setting(const std::string& probe, Level level, bool opt_in);
  Variant variant(const std::string& name, const SlotSetting& wanted, bool selected);
  // Of one probe, or of all if it is empty.
  std::vector<std::string> hooks(const SlotSetting& wanted, const std::string& probe);
  void ask(const SlotSetting& worker, const SlotSetting& other);

  uint32_t slots_[2] = {0, 0};
  std::unique_ptr<Engine> engine_;
};

}  // namespace sonde::bench
