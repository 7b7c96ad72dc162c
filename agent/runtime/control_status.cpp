// SPDX-License-Identifier: Apache-2.0
// Status of the subjects and their decisions.
#include <set>

#include "agent/runtime/control.h"

namespace sonde {

Decided Control::decided() const {
  Decided decided = unselected_;
  std::set<const Subject*> seen;  // several slots may lead to one
  for (const auto& [slot, owner] : identity_.snapshot()->slots) {
    const SlotState& state = slots_[slot];
    if (state.phase != Phase::Live || !state.decision || state.tgid) continue;
    if (!seen.insert(owner.subject.get()).second) continue;
    if (auto* list = decided.list_of(*owner.subject)) list->push_back(state.decision);
  }
  return decided;
}

ControlStats Control::stats() const {
  ControlStats stats;
  for (const SlotState& state : slots_) {
    stats.subjects += state.phase != Phase::Free && state.phase != Phase::GivingBack;
    stats.selected += state.phase == Phase::Live && state.decision != nullptr;
  }
  const Decided decided = this->decided();
  for (const DecisionPtr& one : decided.containers) stats.containers += one->selected;
  stats.without_slot = without_slot_ + (slots_missed() - missed_before_);
  stats.walk_limits = walk_limits_;
  stats.unresolved = paths_.unresolved();
  return stats;
}

}  // namespace sonde
