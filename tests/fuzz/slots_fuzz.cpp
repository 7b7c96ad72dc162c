// SPDX-License-Identifier: Apache-2.0
// Sequences of what can happen to slots, against a model of the kernel side, of the rows and of the pipeline. Each holder is
// a number of its own. A slot is never reused before its last count is out, none leaks, and nothing is counted twice or under
// another holder.
// Layers: slots
#include <array>
#include <cstdint>
#include <deque>
#include <map>

#include "agent/slots/lives.h"
#include "tests/fuzz/support.h"

namespace {

using namespace sonde;
using fuzz::require;
using Kind = SlotEventKind;

constexpr uint32_t kSlots = 6;

class World {
 public:
  World() {
    for (uint32_t slot = 0; slot < kSlots; ++slot) free_.push_back(slot);
  }

  void play(fuzz::Input& input) {
    while (!input.empty()) {
      const uint8_t what = input.byte();
      step(what, input.byte() % kSlots);
    }
    wind_up();
  }

 private:
  // What the kernel side has, and what its rows hold that was not read.
  struct Slot {
    uint64_t holder = 0;  // 0: on the list of free slots
    bool linked = false;  // tasks of the holder find it
    uint64_t unlinked_ns = 0;
    uint64_t row = 0, row_of = 0;
    // What the snapshots say
    uint64_t named = 0;
    bool ended = false;
    bool provisional = false;
  };

  void step(uint8_t what, uint32_t slot) {
    now_ += 1'000'000;
    switch (what % 13) {
      case 0: return assign();
      case 1:
      case 2: return count(slot);
      case 3: return decide(slot, Kind::NameMissing);
      case 4: return decide(slot, Kind::Selected);
      case 5: return decide(slot, Kind::Unselected);
      case 6: return on(slot, {Kind::Dismissed});
      case 7: return remove(slot);
      case 8: return withdraw(slot);
      case 9: return collect();
      case 10: now_ += 100'000'000; return;
      // Reports that come late, or twice, change nothing: on() checks it.
      case 11: return stray(slot, {Kind::Unlinked, now_});
      default: return stray(slot, {Kind::Assigned});
    }
  }

  void assign() {
    if (free_.empty()) return;
    const uint32_t number = free_.front();
    free_.pop_front();
    Slot& slot = slots_[number];
    // The kernel side may be ahead of user space only with a slot that it withdrew; see withdraw().
    require(lives_.stage(number) == SlotStage::Free);
    require(slot.row == 0);
    slot = Slot{.holder = ++holders_, .linked = true, .named = holders_};
    on(number, {Kind::Assigned});
    require(lives_.stage(number) == SlotStage::Waiting);
  }

  void count(uint32_t number) {
    Slot& slot = slots_[number];
    // A program that had found the slot before it was unlinked may still count.
    const bool late = slot.unlinked_ns && now_ < slot.unlinked_ns + kGraceNs;
    if (!slot.holder || !(slot.linked || late)) return;
    if (slot.row == 0) slot.row_of = slot.holder;
    require(slot.row_of == slot.holder);
    ++slot.row;
    ++counted_[slot.holder];
  }

  void decide(uint32_t number, Kind kind) {
    const bool held = is_held(lives_.stage(number));
    on(number, {kind});
    require(held == is_held(lives_.stage(number)));
    // Whoever decides says again what is gone.
    if (lives_.life(number).gone && lives_.stage(number) == SlotStage::Live) on(number, {Kind::Gone});
  }

  void remove(uint32_t number) {
    Slot& slot = slots_[number];
    if (!slot.holder) return;
    slot.linked = slot.linked && lives_.stage(number) == SlotStage::Waiting;  // what counts on it late is after rmdir
    on(number, {Kind::Gone});
    require(lives_.stage(number) != SlotStage::Live && lives_.life(number).gone);
  }

  // The kernel side changes its mind before anything is counted.
  void withdraw(uint32_t number) {
    Slot& slot = slots_[number];
    if (!slot.holder || slot.row || counted_[slot.holder] || !is_held(lives_.stage(number))) return;
    slot.holder = 0;
    slot.linked = false;
    free_.push_back(number);
    on(number, {Kind::Withdrawn});
    require(lives_.stage(number) == SlotStage::Free && slot.named == 0);
  }

  void stray(uint32_t number, SlotEvent event) {
    const SlotLife before = lives_.life(number);
    if (before.stage == SlotStage::Free || (before.stage == SlotStage::Released && !before.unlinked_ns)) return;
    require(lives_.advance(number, event) == SlotCommands{});
    require(lives_.life(number) == before);
  }

  void collect() {
    for (uint32_t number = 0; number < kSlots; ++number) {
      seen_[number] = slots_[number].named;
      seen_ended_[number] = slots_[number].named && slots_[number].ended;
    }
    for (uint32_t number = 0; number < kSlots; ++number) on(number, {Kind::CollectionBegan});
    const uint64_t began = now_;
    for (uint32_t number = 0; number < kSlots; ++number) {
      Slot& slot = slots_[number];
      if (!slot.holder || lives_.stage(number) == SlotStage::Waiting) continue;
      if (slot.row) require(seen_[number] == slot.row_of);  // the pipeline knows whose counts these are
      brought_[slot.row_of] += slot.row;
      slot.row = 0;
    }
    for (uint32_t number = 0; number < kSlots; ++number) on(number, {Kind::CollectionEnded, began});
    now_ += 1'000'000;
  }

  void on(uint32_t number, SlotEvent event) {
    Slot& slot = slots_[number];
    const SlotLife before = lives_.life(number);
    const SlotCommands commands = lives_.advance(number, event);
    if (commands.provisional) slot.provisional = true;
    if (commands.release) {
      require(before.stage == SlotStage::Live && slot.holder);
      slot.linked = false;
      slot.unlinked_ns = now_;
      on(number, {Kind::Unlinked, now_});
    }
    if (commands.empty_rows) {
      require(slot.row == 0 && slot.unlinked_ns && now_ >= slot.unlinked_ns + kGraceNs);
    }
    if (commands.end) {
      require(!slot.ended && slot.named == slot.holder);
      slot.ended = true;
    }
    if (commands.forget) {
      require(slot.named != 0);
      // Whatever was measured ends in the pipeline first.
      require(seen_ended_[number] == (before.stage == SlotStage::Drained));
      slot.named = 0;
    }
    if (commands.give_back) {
      require(slot.holder && slot.row == 0 && slot.named == 0 && seen_[number] == 0);
      require(brought_[slot.holder] == counted_[slot.holder]);
      require(before.measured == slot.ended);
      slot.holder = 0;
      free_.push_back(number);
    }
    // It is on the list of free slots exactly if nobody has it.
    if (lives_.stage(number) == SlotStage::Free) require(slot.holder == 0 || event.kind == Kind::Assigned);
    uint32_t slots = 0;
    for (int stage = 0; stage < kSlotStages; ++stage) slots += lives_.count(static_cast<SlotStage>(stage));
    require(slots == kSlots);
  }

  // Everything ends: then every slot is free, and every count has been brought once, under its holder.
  void wind_up() {
    for (uint32_t number = 0; number < kSlots; ++number) {
      decide(number, Kind::Selected);
      remove(number);
    }
    for (int i = 0; i < 4; ++i) {
      now_ += kGraceNs;
      collect();
    }
    require(lives_.count(SlotStage::Free) == kSlots && !lives_.ending());
    require(free_.size() == kSlots);
    for (const auto& [holder, counts] : counted_) require(brought_[holder] == counts);
  }

  SlotLives lives_{kSlots};
  std::array<Slot, kSlots> slots_;
  std::array<uint64_t, kSlots> seen_{};  // holders in the snapshots that the pipeline has
  std::array<bool, kSlots> seen_ended_{};
  std::deque<uint32_t> free_;
  uint64_t holders_ = 0;
  uint64_t now_ = 1;
  std::map<uint64_t, uint64_t> counted_, brought_;  // by holder
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  World().play(input);
  return 0;
}
