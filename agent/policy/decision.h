// SPDX-License-Identifier: Apache-2.0
// What all policies together request for one subject. Computed by resolve() (pure), used by kernel and pipeline.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/module/module.h"
#include "agent/module/span_operation.h"
#include "agent/policy/policy.h"

namespace sonde {

struct ProbeDecision {
  Level level = Level::None;  // None: not requested
  uint64_t metrics = 0;       // bit i: ModuleInfo::metrics[i] is exported
  uint16_t sample_every = 1;  // histograms sample one in this many operations
  uint8_t flags = 0;          // for the kernel side, from the series of these metrics at this level and `span_flags`
  uint8_t span_flags = 0;     // what spans need measured, whether or not it is exported
};

// Is this series counted and exported? A metric requested by name above the probe's level includes its own level's.
inline bool exports(const ProbeDecision& decision, const ModuleInfo& info, const SeriesSpec& series) {
  if ((decision.metrics >> series.metric & 1) == 0) return false;
  return series.level <= decision.level || series.level <= info.metrics[series.metric].level;
}

// A plain histogram that is replaced by a keyed one at a higher level, with more attributes.
bool covered(const ProbeDecision& decision, const ModuleInfo& info, const SeriesSpec& series);

// For the kernel side: the bits of all series that are exported, and those that spans need.
uint8_t flags_of(const ProbeDecision& decision, const ModuleInfo& info);

// A declared function and its policy: the one with the highest precedence, if several declare it.
struct FunctionAsk {
  FunctionRequest request;
  std::string policy;  // display name
};

// What is recorded as spans: that of one policy, since a span belongs to the policy whose threshold it exceeded.
struct TraceSettings {
  std::string policy;                                     // display name; empty: nothing is recorded
  std::array<uint32_t, kSpanOperations> threshold_us{};   // by operation; 0: not recorded
  uint32_t errors = 0;                                    // bit per operation: its failures, whatever their duration
  std::map<std::string, uint32_t, std::less<>> functions; // threshold in us by name; of Function the smallest is above
  double trees_per_second = 0;                            // on the node, for all containers of this policy
  bool peer_address = true;

  bool records(SpanOperation operation) const { return threshold_us[static_cast<std::size_t>(operation)] != 0; }
  friend bool operator==(const TraceSettings&, const TraceSettings&) = default;
};

struct Decision {
  bool selected = false;
  std::vector<ProbeDecision> probes;   // one per module, index as in modules()
  std::vector<FunctionAsk> functions;  // by name
  TraceSettings traces;
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
