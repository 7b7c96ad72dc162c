// SPDX-License-Identifier: Apache-2.0
#include "agent/slots/lives.h"

#include <gtest/gtest.h>

#include <vector>

namespace sonde {
namespace {

using Kind = SlotEventKind;

TEST(SlotLives, CountsByStage) {
  SlotLives lives(8);
  EXPECT_EQ(lives.count(SlotStage::Free), 8U);
  for (const uint32_t slot : {3U, 5U, 7U}) lives.advance(slot, {Kind::Assigned});
  lives.advance(5, {Kind::Selected});
  EXPECT_EQ(lives.count(SlotStage::Free), 5U);
  EXPECT_EQ(lives.in(SlotStage::Waiting), (std::vector<uint32_t>{3, 7}));
  EXPECT_EQ(lives.in(SlotStage::Live), std::vector<uint32_t>{5});
  EXPECT_TRUE(lives.in(SlotStage::Drained).empty());
  EXPECT_FALSE(lives.ending());
  EXPECT_TRUE(lives.advance(5, {Kind::Gone}).release);
  EXPECT_TRUE(lives.ending());
  EXPECT_TRUE(lives.advance(5, {Kind::Withdrawn}).forget);
  EXPECT_FALSE(lives.ending());
  EXPECT_EQ(lives.count(SlotStage::Free), 6U);
}

TEST(SlotLives, BeyondTheCapacityNothingLives) {
  SlotLives lives(8);
  EXPECT_EQ(lives.advance(8, {Kind::Assigned}), SlotCommands{});
  EXPECT_EQ(lives.stage(8), SlotStage::Free);
  EXPECT_EQ(lives.count(SlotStage::Free), 8U);
}

}  // namespace
}  // namespace sonde
