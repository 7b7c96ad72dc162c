// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/series_limit.h"

#include <algorithm>

namespace sonde {

bool SeriesLimit::tick(const std::vector<std::string>& limited, uint64_t now_ns, uint64_t settle_ns) {
  bool changed = false;
  for (const std::string& policy : limited) {
    State& state = states_[policy];
    if (state.levels == kMost || now_ns < state.settled_ns) continue;
    ++state.levels;
    state.settled_ns = now_ns + settle_ns;
    state.raise_ns = now_ns + state.hold_ns;
    state.hold_ns = std::min(state.hold_ns * 2, kLongestHoldNs);
    changed = true;
  }
  for (auto& [policy, state] : states_) {
    if (state.levels == 0 || now_ns < state.raise_ns || std::ranges::find(limited, policy) != limited.end()) continue;
    --state.levels;
    state.settled_ns = now_ns + settle_ns;
    state.raise_ns = now_ns + state.hold_ns;
    changed = true;
  }
  return changed;
}

std::map<std::string, int> SeriesLimit::lowered() const {
  std::map<std::string, int> lowered;
  for (const auto& [policy, state] : states_) {
    if (state.levels > 0) lowered.emplace(policy, state.levels);
  }
  return lowered;
}

}  // namespace sonde
