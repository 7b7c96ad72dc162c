// SPDX-License-Identifier: Apache-2.0
#include "agent/slots/lives.h"

namespace sonde {

const SlotLife& SlotLives::life(uint32_t slot) const {
  static constexpr SlotLife free;
  return slot < lives_.size() ? lives_[slot] : free;
}

SlotCommands SlotLives::advance(uint32_t slot, SlotEvent event) {
  if (slot >= lives_.size()) return {};
  SlotLife& life = lives_[slot];
  --counts_[static_cast<std::size_t>(life.stage)];
  const SlotCommands commands = sonde::advance(life, event);
  ++counts_[static_cast<std::size_t>(life.stage)];
  return commands;
}

std::vector<uint32_t> SlotLives::in(SlotStage stage) const {
  std::vector<uint32_t> slots;
  if (count(stage) == 0) return slots;
  slots.reserve(count(stage));
  for (uint32_t slot = 0; slot < lives_.size(); ++slot) {
    if (lives_[slot].stage == stage) slots.push_back(slot);
  }
  return slots;
}

}  // namespace sonde
