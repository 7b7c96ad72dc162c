// SPDX-License-Identifier: Apache-2.0
// The life of one slot: its stages, what can happen to it, and what has to be done then. Pure; README.md has the picture.
#pragma once

#include <cstdint>

namespace sonde {

// A program that was running when a slot was taken from its holder may count on it for some microseconds. BPF programs never
// sleep, so this is more than enough, even for a virtual CPU that is not scheduled for a while.
inline constexpr uint64_t kGraceNs = 300'000'000;

enum class SlotStage : uint8_t {
  Free,      // nobody has it, as far as user space knows
  Waiting,   // its holder counts provisionally: nothing is decided, its pod may not be known yet. Its rows are not read
  Live,      // decided, measured or not; its rows are read
  Released,  // nothing leads to it any more; its rows are read until the grace period is over
  Drained,   // its last counts are out; the pipeline is to end what it counted into
  Flushed,   // no snapshot names its holder any more; the pipeline still has to see one of those
};
inline constexpr int kSlotStages = 6;

enum class SlotEventKind : uint8_t {
  Assigned,         // it has a holder
  Withdrawn,        // the kernel side has put it back on its list of free slots
  NameMissing,      // nothing can be decided yet
  Selected,         // a policy measures its holder
  Unselected,       // none does. It keeps its slot until it is Dismissed
  Dismissed,        // its holder lives on without it: it is not selected, idle, or counted with its container
  Gone,             // its holder is gone: directory removed, process ended
  Unlinked,         // SlotCommands::release was carried out, at at_ns
  CollectionBegan,  // the pipeline has the newest snapshots, the rows are about to be read
  CollectionEnded,  // the rows were read, in a collection that began at at_ns
};
inline constexpr int kSlotEvents = 10;

struct SlotEvent {
  SlotEventKind kind;
  uint64_t at_ns = 0;  // CLOCK_BOOTTIME, for kinds that mention it
};

struct SlotLife {
  SlotStage stage = SlotStage::Free;
  bool gone = false;         // the holder is; otherwise it lives on after Released
  bool provisional = false;  // Waiting: SlotCommands::provisional was given
  bool measured = false;     // as last decided: the pipeline has something to end
  uint64_t unlinked_ns = 0;  // CLOCK_BOOTTIME; 0: not yet

  friend bool operator==(const SlotLife&, const SlotLife&) = default;
};

// What the caller has to do, in this order.
struct SlotCommands {
  bool provisional = false;  // give it the flags of what is not decided yet
  bool release = false;      // take it from its holder in the kernel, then report Unlinked (Withdrawn if it had none)
  bool empty_rows = false;   // nothing comes any more: its rows go back to their pools
  bool end = false;          // the next snapshots say that its holder has ended
  bool forget = false;       // the next snapshots do not name its holder
  bool give_back = false;    // the kernel side may give it to somebody else

  friend bool operator==(const SlotCommands&, const SlotCommands&) = default;
};

// An event that means nothing in a stage changes nothing and commands nothing. Collections are reported in pairs, with nothing
// but the reading of the rows between.
SlotCommands advance(SlotLife& life, SlotEvent event);

// Decided or not, its holder may still count on it.
constexpr bool is_held(SlotStage stage) { return stage == SlotStage::Waiting || stage == SlotStage::Live; }
// Taken from its holder, but not free yet.
constexpr bool is_ending(SlotStage stage) { return stage >= SlotStage::Released; }

}  // namespace sonde
