// SPDX-License-Identifier: Apache-2.0
// What all policies together request for one subject. Computed by resolve() (pure), used by kernel and pipeline.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/module/module.h"
#include "agent/policy/policy.h"

namespace sonde {

struct ProbeDecision {
  Level level = Level::None;  // None: not requested
  uint64_t metrics = 0;       // bit i: ModuleInfo::metrics[i] is exported
  uint16_t sample_every = 1;  // histograms sample one in this many operations
  uint8_t flags = 0;          // for the kernel side, from the series of these metrics at this level
};

// Is this series counted and exported? A metric requested by name above the probe's level includes its own level's.
inline bool exports(const ProbeDecision& decision, const ModuleInfo& info, const SeriesSpec& series) {
  if ((decision.metrics >> series.metric & 1) == 0) return false;
  return series.level <= decision.level || series.level <= info.metrics[series.metric].level;
}

// A plain histogram that is replaced by a keyed one at a higher level, with more attributes.
bool covered(const ProbeDecision& decision, const ModuleInfo& info, const SeriesSpec& series);

// For the kernel side: the bits of all series that are exported.
uint8_t flags_of(const ProbeDecision& decision, const ModuleInfo& info);

// A declared function and its policy: the one with the highest precedence, if several declare it.
struct FunctionAsk {
  FunctionRequest request;
  std::string policy;  // display name
};

struct Decision {
  bool selected = false;
  std::vector<ProbeDecision> probes;   // one per module, index as in modules()
  std::vector<FunctionAsk> functions;  // by name
  uint32_t period_ms = 30'000;         // how often this subject is collected and exported
  Granularity granularity = Granularity::Container;
  CleanupStrategy cleanup = CleanupStrategy::KeepRecent;
  int idle_seconds = 300;
  int series_per_container = 200;
  int series_per_node = 20000;
  std::vector<std::string> pod_labels;
  std::vector<std::string> pod_annotations;

  // For `sonde explain` and status: field -> the policy that sets it; messages about overridden and clamped values.
  std::map<std::string, std::string> winners;
  std::vector<std::string> overridden;
  std::vector<std::string> policies;  // matching policies, in order of precedence
};
using DecisionPtr = std::shared_ptr<const Decision>;

// The policy whose seriesPerNode applies to this subject; the first one if none sets it.
std::string series_limit_owner(const Decision& decision);

// Published together with the IdentitySnapshot.
struct PolicySnapshot {
  std::unordered_map<uint32_t, DecisionPtr> slots;  // no entry: not selected
  uint64_t made_ns = 0;
};

}  // namespace sonde
