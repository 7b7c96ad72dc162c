// SPDX-License-Identifier: Apache-2.0
// Containers whose pod is not known yet, and pods whose labels change.
#include <algorithm>
#include <utility>

#include "agent/base/clock.h"
#include "agent/runtime/control.h"

namespace sonde {
namespace {

// A pod's own status, which names its containers, comes about a second after they begin to run.
constexpr uint64_t kNameWait = 10'000'000'000;
constexpr uint64_t kRenameEvery = 200'000'000;

}  // namespace

Subject Control::subject_at(const std::string& path, uint64_t cgroup_id) const {
  Subject subject = subject_of(path, cgroup_id, 0);
  if (options_.names) options_.names->enrich(subject);
  return subject;
}

bool Control::waits_for_name(const Subject& subject, const SlotState& state) const {
  // What has a decision was complete once, or has waited.
  if (!waits_ || !options_.names || state.decision || options_.names->complete(subject)) return false;
  return boottime_ns() < std::max(state.created_ns, started_ns_) + kNameWait;
}

// It goes on counting whatever some policy may ask of it.
void Control::hold(uint32_t slot) {
  if (std::exchange(slots_[slot].nameless, true)) return;
  SlotSetting setting;
  setting.flags = provisional_;
  engine_.configure(slot, setting);
  engine_.hold(slot, true);
}

bool Control::rename(uint64_t now_ns) {
  if (!options_.names || now_ns < next_rename_ns_) return false;
  const uint64_t version = options_.names->version();
  const bool overdue = std::ranges::any_of(slots_, [&](const SlotState& state) {
    return state.nameless && now_ns > std::max(state.created_ns, started_ns_) + kNameWait;
  });
  if (version == names_version_ && !overdue) return false;
  names_version_ = version;
  next_rename_ns_ = now_ns + kRenameEvery;
  decide_waiting();
  return true;
}

bool Control::may_return(const Subject& subject, bool workload) {
  if (!options_.names || !(workload || options_.names->may_return(subject))) return false;
  return decision_for(subject, 0, "")->selected;
}

void Control::stop_waiting() {
  waits_ = false;
  if (std::ranges::any_of(slots_, &SlotState::nameless)) decide_waiting();
}

void Control::decide_waiting() {
  decide_all(policies_, context_);
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < slots_.size(); ++slot) {
    const SlotState& state = slots_[slot];
    if (state.phase == Phase::Live && state.removed && !state.nameless) close(slot, true);
  }
  publish();
}

}  // namespace sonde
