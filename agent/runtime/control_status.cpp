// SPDX-License-Identifier: Apache-2.0
// Status of the subjects and their decisions.
#include <set>

#include "agent/runtime/control.h"

namespace sonde {

Decided Control::decided() const {
  Decided decided = unselected_;
  std::set<const Subject*> seen;  // several slots may lead to one
  for (const auto& [slot, owner] : identity_.snapshot()->slots) {
    const Holder& holder = holders_[slot];
    if (!is_held(slot) || !holder.decision || holder.tgid) continue;
    if (!seen.insert(owner.subject.get()).second) continue;
    if (auto* list = decided.list_of(*owner.subject)) list->push_back(holder.decision);
  }
  return decided;
}

ControlStats Control::stats() const {
  ControlStats stats;
  stats.subjects = lives_.capacity() - lives_.count(SlotStage::Free) - lives_.count(SlotStage::Flushed);
  for (uint32_t slot = 0; slot < holders_.size(); ++slot) stats.selected += is_held(slot) && holders_[slot].decision;
  const Decided decided = this->decided();
  for (const DecisionPtr& one : decided.containers) stats.containers += one->selected;
  stats.without_slot = without_slot_ + (slots_missed() - missed_before_);
  stats.walk_limits = walk_limits_;
  stats.unresolved = paths_.unresolved();
  return stats;
}

}  // namespace sonde
