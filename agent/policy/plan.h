// SPDX-License-Identifier: Apache-2.0
// What all decisions together require on this node, and the state of each policy. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/policy/resolve.h"

namespace sonde {

struct ProbePlan {
  Level level = Level::None;  // the highest requested; None: not requested
  uint8_t flags = 0;          // union: programs with none of these need not be attached
  uint64_t metrics = 0;       // union
  // The strictest of those that ask for this module.
  CleanupStrategy cleanup = CleanupStrategy::NoCleanup;
};

struct Plan {
  std::vector<ProbePlan> probes;        // one per module
  uint32_t period_ms = 0;               // the shortest; 0: nothing is selected
  int idle_seconds = 0;                 // the shortest
  int series_per_node = 0;              // the largest that a decision allows
  bool per_process = false;             // some policy uses process granularity
  uint32_t selected = 0;                // subjects
  std::vector<std::string> overridden;  // messages: cleanup strategies overridden by a stricter one
};

// One decision per subject, those that are not selected too: they say what an Exclude keeps unwatched.
Plan plan_of(std::span<const DecisionPtr> decisions, std::span<const ModuleEntry> modules = sonde::modules());

// Flags (one byte per module) for a subject that user space does not know yet: the union over all active policies that
// might select it, less what is excluded for everybody. What is then not selected is discarded.
std::vector<uint8_t> provisional_flags(std::span<const Policy> policies, const ResolveContext& context);

// For status, in order of precedence.
struct PolicyStatus {
  std::string name;  // display name
  std::string source;
  Mode mode = Mode::Monitor;
  bool expired = false;
  uint32_t matched = 0;                 // subjects; for Exclude: that it keeps unwatched
  uint32_t containers = 0;              // of these, containers
  std::vector<std::string> overridden;  // sentences, at most ten
};
// One decision per subject; `others`: of those that are no containers. A pod's sandbox is in neither.
struct Decided {
  std::vector<DecisionPtr> containers, others;
  std::vector<DecisionPtr>* list_of(const Subject& subject);  // where it belongs; null: nowhere
};
std::vector<PolicyStatus> policy_status(std::span<const Policy> policies, const Decided& decided,
                                        const ResolveContext& context);

}  // namespace sonde
