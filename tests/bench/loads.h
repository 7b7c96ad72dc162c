// SPDX-License-Identifier: Apache-2.0
// What a probe is measured with. A probe registers it in its folder, bpf/modules/<name>/<name>_bench.cpp:
//   const Load kLoad{"locks", make_futex, 10'000, "wait on a futex"};
// One that registers nothing is measured with context switches.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/module/metric.h"
#include "tests/bench/workloads.h"

namespace sonde::bench {

// A probe's work in bench_modules. Registers itself.
struct Load {
  Load(std::string_view module, Workload workload, uint64_t n, std::string_view title);
  std::string_view module;
  Workload workload;
  uint64_t n;  // pieces of work per round
  std::string_view title;
};
const Load& load_of(std::string_view module);

// A table of bench_hooks: one piece of work with empty programs, with a probe at some levels, and with other tools that
// answer a similar question.
struct HookTable {
  struct Empty {
    std::string name;
    std::vector<std::string> programs;  // of tests/bench/empty.bpf.c
  };
  struct Request {
    Level level;
    bool selected;
  };
  struct Tool {
    std::string name;
    std::vector<std::string> command;
  };
  std::string probe;
  std::string key;    // in the JSON file
  std::string title;  // of the table
  Workload workload;
  uint64_t n;                   // pieces of work per round
  std::vector<Empty> empty;     // ratios are relative to the first
  std::vector<Request> levels;  // of the probe
  std::vector<Tool> tools;
};
// Registers the table that it returns.
struct RegisteredHookTable {
  explicit RegisteredHookTable(HookTable (*make)());
};
// By probe name.
std::vector<HookTable> hook_tables();

}  // namespace sonde::bench
