// SPDX-License-Identifier: Apache-2.0
// Every event in every stage.
#include "agent/slots/life.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sonde {
namespace {

using enum SlotStage;
using Kind = SlotEventKind;

constexpr uint64_t kUnlinked = 1'000'000'000;
constexpr uint64_t kTooEarly = kUnlinked + kGraceNs - 1, kInTime = kUnlinked + kGraceNs;

const SlotCommands kNothing{};
const SlotCommands kProvisional{.provisional = true}, kRelease{.release = true}, kForget{.forget = true},
    kGiveBack{.give_back = true};
const SlotCommands kEnd{.empty_rows = true, .end = true}, kEmptyAndForget{.empty_rows = true, .forget = true};

const SlotLife kFree{};
const SlotLife kAssigned{.stage = Waiting}, kWaits{.stage = Waiting, .provisional = true};
const SlotLife kMeasured{.stage = Live, .measured = true}, kUnmeasured{.stage = Live};
const SlotLife kReleasing{.stage = Released, .measured = true};
const SlotLife kReleased{.stage = Released, .measured = true, .unlinked_ns = kUnlinked};
const SlotLife kReleasedUnmeasured{.stage = Released, .unlinked_ns = kUnlinked};
const SlotLife kDrained{.stage = Drained, .measured = true, .unlinked_ns = kUnlinked};
const SlotLife kFlushed{.stage = Flushed, .measured = true, .unlinked_ns = kUnlinked};

SlotLife gone(SlotLife life) {
  life.gone = true;
  return life;
}

struct Row {
  SlotLife before;
  SlotEvent event;
  SlotLife after;
  SlotCommands commands;
};

// Each pair at least once: a missing one fails EveryPairIsHere.
const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {kFree, {Kind::Assigned}, kAssigned, kNothing},
      {kFree, {Kind::Withdrawn}, kFree, kNothing},
      {kFree, {Kind::NameMissing}, kFree, kNothing},
      {kFree, {Kind::Selected}, kFree, kNothing},
      {kFree, {Kind::Unselected}, kFree, kNothing},
      {kFree, {Kind::Dismissed}, kFree, kNothing},
      {kFree, {Kind::Gone}, kFree, kNothing},
      {kFree, {Kind::Unlinked, kUnlinked}, kFree, kNothing},
      {kFree, {Kind::CollectionBegan}, kFree, kNothing},
      {kFree, {Kind::CollectionEnded, kInTime}, kFree, kNothing},

      {kAssigned, {Kind::Assigned}, kAssigned, kNothing},
      {kWaits, {Kind::Assigned}, kWaits, kNothing},
      {kAssigned, {Kind::Withdrawn}, kFree, kForget},
      {gone(kWaits), {Kind::Withdrawn}, kFree, kForget},
      {kAssigned, {Kind::NameMissing}, kWaits, kProvisional},
      {kWaits, {Kind::NameMissing}, kWaits, kNothing},
      {kAssigned, {Kind::Selected}, kMeasured, kNothing},
      {kWaits, {Kind::Selected}, kMeasured, kNothing},
      {gone(kWaits), {Kind::Selected}, gone(kMeasured), kNothing},
      {kAssigned, {Kind::Unselected}, kUnmeasured, kNothing},
      {kWaits, {Kind::Unselected}, kUnmeasured, kNothing},
      {kWaits, {Kind::Dismissed}, kWaits, kNothing},
      {kWaits, {Kind::Gone}, gone(kWaits), kNothing},  // its counts wait for a name
      {kWaits, {Kind::Unlinked, kUnlinked}, kWaits, kNothing},
      {kWaits, {Kind::CollectionBegan}, kWaits, kNothing},
      {kWaits, {Kind::CollectionEnded, kInTime}, kWaits, kNothing},

      {kMeasured, {Kind::Assigned}, kMeasured, kNothing},
      {kMeasured, {Kind::Withdrawn}, kFree, kForget},
      {kUnmeasured, {Kind::NameMissing}, kWaits, kProvisional},
      {kMeasured, {Kind::NameMissing}, kWaits, kProvisional},
      {kMeasured, {Kind::Selected}, kMeasured, kNothing},
      {kUnmeasured, {Kind::Selected}, kMeasured, kNothing},
      {kMeasured, {Kind::Unselected}, kUnmeasured, kNothing},
      {kMeasured, {Kind::Dismissed}, kReleasing, kRelease},
      {kMeasured, {Kind::Gone}, gone(kReleasing), kRelease},
      {gone(kMeasured), {Kind::Gone}, gone(kReleasing), kRelease},  // it was gone before it had a name
      {kMeasured, {Kind::Unlinked, kUnlinked}, kMeasured, kNothing},
      {kMeasured, {Kind::CollectionBegan}, kMeasured, kNothing},
      {kMeasured, {Kind::CollectionEnded, kInTime}, kMeasured, kNothing},

      {kReleased, {Kind::Assigned}, kReleased, kNothing},
      {kReleasing, {Kind::Withdrawn}, kFree, kForget},
      {kReleased, {Kind::Withdrawn}, kReleased, kNothing},
      {kReleased, {Kind::NameMissing}, kReleased, kNothing},
      {kReleased, {Kind::Selected}, kReleased, kNothing},
      {kReleased, {Kind::Unselected}, kReleased, kNothing},
      {kReleased, {Kind::Dismissed}, kReleased, kNothing},
      {kReleased, {Kind::Gone}, gone(kReleased), kNothing},
      {kReleasing, {Kind::Unlinked, kUnlinked}, kReleased, kNothing},
      {kReleased, {Kind::Unlinked, kUnlinked + 5}, kReleased, kNothing},
      {kReleased, {Kind::CollectionBegan}, kReleased, kNothing},
      {kReleasing, {Kind::CollectionEnded, kInTime}, kReleasing, kNothing},
      {kReleased, {Kind::CollectionEnded, kTooEarly}, kReleased, kNothing},
      {kReleased, {Kind::CollectionEnded, kInTime}, kDrained, kEnd},
      {gone(kReleased), {Kind::CollectionEnded, kInTime}, gone(kDrained), kEnd},
      {kReleasedUnmeasured,
       {Kind::CollectionEnded, kInTime},
       {.stage = Flushed, .unlinked_ns = kUnlinked},
       kEmptyAndForget},

      {kDrained, {Kind::Assigned}, kDrained, kNothing},
      {kDrained, {Kind::Withdrawn}, kDrained, kNothing},
      {kDrained, {Kind::NameMissing}, kDrained, kNothing},
      {kDrained, {Kind::Selected}, kDrained, kNothing},
      {kDrained, {Kind::Unselected}, kDrained, kNothing},
      {kDrained, {Kind::Dismissed}, kDrained, kNothing},
      {kDrained, {Kind::Gone}, gone(kDrained), kNothing},
      {kDrained, {Kind::Unlinked, kUnlinked + 5}, kDrained, kNothing},
      {kDrained, {Kind::CollectionBegan}, kDrained, kNothing},
      {kDrained, {Kind::CollectionEnded, kInTime}, kFlushed, kForget},

      {kFlushed, {Kind::Assigned}, kFlushed, kNothing},
      {kFlushed, {Kind::Withdrawn}, kFlushed, kNothing},
      {kFlushed, {Kind::NameMissing}, kFlushed, kNothing},
      {kFlushed, {Kind::Selected}, kFlushed, kNothing},
      {kFlushed, {Kind::Unselected}, kFlushed, kNothing},
      {kFlushed, {Kind::Dismissed}, kFlushed, kNothing},
      {kFlushed, {Kind::Gone}, gone(kFlushed), kNothing},
      {kFlushed, {Kind::Unlinked, kUnlinked + 5}, kFlushed, kNothing},
      {kFlushed, {Kind::CollectionBegan}, kFree, kGiveBack},
      {kFlushed, {Kind::CollectionEnded, kInTime}, kFlushed, kNothing},
  };
  return all;
}

std::string name(const Row& row) {
  return "stage " + std::to_string(static_cast<int>(row.before.stage)) + ", event " +
         std::to_string(static_cast<int>(row.event.kind));
}

TEST(SlotLife, EveryEventInEveryStage) {
  for (const Row& row : rows()) {
    SlotLife life = row.before;
    EXPECT_EQ(advance(life, row.event), row.commands) << name(row);
    EXPECT_EQ(life.stage, row.after.stage) << name(row);
    EXPECT_EQ(life, row.after) << name(row);
  }
}

TEST(SlotLife, EveryPairIsHere) {
  std::set<std::pair<int, int>> pairs;
  for (const Row& row : rows()) {
    pairs.emplace(static_cast<int>(row.before.stage), static_cast<int>(row.event.kind));
  }
  EXPECT_EQ(pairs.size(), static_cast<std::size_t>(kSlotStages * kSlotEvents));
  static_assert(static_cast<int>(Flushed) + 1 == kSlotStages);
  static_assert(static_cast<int>(Kind::CollectionEnded) + 1 == kSlotEvents);
}

TEST(SlotLife, AWholeOne) {
  SlotLife life;
  advance(life, {Kind::Assigned});
  EXPECT_EQ(advance(life, {Kind::NameMissing}), kProvisional);
  advance(life, {Kind::Gone});
  EXPECT_EQ(life.stage, Waiting);
  advance(life, {Kind::Selected});
  EXPECT_EQ(advance(life, {Kind::Gone}), kRelease);
  advance(life, {Kind::Unlinked, kUnlinked});
  uint64_t now = kUnlinked;
  const auto collect = [&] {
    const SlotCommands before = advance(life, {Kind::CollectionBegan});
    const SlotCommands after = advance(life, {Kind::CollectionEnded, now});
    now += 200'000'000;
    return std::pair(before, after);
  };
  EXPECT_EQ(collect(), std::pair(kNothing, kNothing));
  EXPECT_EQ(collect(), std::pair(kNothing, kNothing)) << "200 ms after it was unlinked";
  EXPECT_EQ(collect(), std::pair(kNothing, kEnd)) << "400 ms after it was unlinked";
  EXPECT_EQ(collect(), std::pair(kNothing, kForget));
  EXPECT_EQ(collect(), std::pair(kGiveBack, kNothing));
  EXPECT_EQ(life, kFree);
}

}  // namespace
}  // namespace sonde
