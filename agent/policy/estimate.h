// SPDX-License-Identifier: Apache-2.0
// What a decision costs, before it is in force: series, time per event, kernel memory. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/module/module.h"
#include "agent/policy/decision.h"

namespace sonde {

struct ProbeEstimate {
  std::string probe;
  Level level = Level::None;
  int series = 0;             // per subject, at most: all of them moving
  int histograms = 0;         // of these
  bool keyed_series = false;  // and cells on top: up to SONDE_CELLS + 1 for each keyed metric
  int ns_per_event = 0;       // added to an operation of a selected subject: the costliest pair of hooks
};

struct Estimate {
  std::vector<ProbeEstimate> probes;  // those that are asked
  int series = 0;                     // per subject
  int histograms = 0;
  uint64_t kernel_bytes = 0;  // of all shared maps, for the given limits
};

// The sizes of the kernel maps that the configuration sets.
struct KernelLimits {
  uint32_t slots = 4096;            // limits.subjects
  uint32_t histogram_rows = 16384;  // limits.histograms
  uint32_t processes = 2048;        // limits.processes
};

Estimate estimate(const Decision& decision, const KernelLimits& limits,
                  std::span<const ModuleEntry> modules = sonde::modules());

// Bytes of all maps with these limits, of every module that the decision asks (an empty one: of all).
uint64_t kernel_bytes(const KernelLimits& limits, const Decision& decision, std::span<const ModuleEntry> modules);

// Added ns of one run of a program on its hook, for a selected subject.
int program_cost_ns(const ProgramSpec& program);

}  // namespace sonde
