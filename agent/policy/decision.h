// SPDX-License-Identifier: Apache-2.0
// What all policies together ask for one subject. Made by resolve() (pure), obeyed by kernel and pipeline.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/policy/policy.h"

namespace sonde {

struct ProbeDecision {
  Level level = Level::None;   // None: not asked
  uint64_t metrics = 0;        // bit i: ModuleInfo::metrics[i] is exported
  uint16_t sample_every = 1;   // histograms take one operation in so many
  uint8_t flags = 0;           // for the kernel side, from the series these metrics have at this level
};

struct Decision {
  bool selected = false;
  std::vector<ProbeDecision> probes;  // one per module, index as in modules()
  int period_seconds = 30;
  Granularity granularity = Granularity::Container;
  CleanupStrategy cleanup = CleanupStrategy::KeepRecent;
  int idle_seconds = 300;
  int series_per_container = 200;
  int series_per_node = 20000;
  std::vector<std::string> pod_labels;
  std::vector<std::string> pod_annotations;

  // For `sonde explain` and status: field -> the policy that won; policies whose value lost; ceilings that clamped.
  std::map<std::string, std::string> winners;
  std::vector<std::string> overridden;
  std::vector<std::string> policies;  // that matched, in order of precedence
};
using DecisionPtr = std::shared_ptr<const Decision>;

// Published by the control thread beside the IdentitySnapshot.
struct PolicySnapshot {
  std::unordered_map<uint32_t, DecisionPtr> slots;  // no entry: not selected
  uint64_t made_ns = 0;
};

}  // namespace sonde
