// SPDX-License-Identifier: Apache-2.0
// The lives of all slots. For the agent's loop alone: no lock.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "agent/slots/life.h"

namespace sonde {

class SlotLives {
 public:
  // Slots at or above `capacity` are Free and stay so.
  explicit SlotLives(uint32_t capacity) : lives_(capacity) { counts_[0] = capacity; }

  uint32_t capacity() const { return static_cast<uint32_t>(lives_.size()); }
  SlotStage stage(uint32_t slot) const { return life(slot).stage; }
  const SlotLife& life(uint32_t slot) const;
  SlotCommands advance(uint32_t slot, SlotEvent event);

  uint32_t count(SlotStage stage) const { return counts_[static_cast<std::size_t>(stage)]; }
  std::vector<uint32_t> in(SlotStage stage) const;
  // Some slots are on their way from a holder to Free: only collections move them on.
  bool ending() const { return count(SlotStage::Released) + count(SlotStage::Drained) + count(SlotStage::Flushed) > 0; }

 private:
  std::vector<SlotLife> lives_;                 // by slot
  std::array<uint32_t, kSlotStages> counts_{};  // by stage
};

}  // namespace sonde
