// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/span_budget.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sonde {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

// Does what the kernel side does: a token of the slot and one of the node for each span, else it is suppressed.
class Node {
 public:
  explicit Node(double most = 10) : most_(most) {}
  void add(uint32_t slot, const std::string& policy, double rate) { slots_.push_back({slot, policy, rate, 0, 0}); }
  void remove(uint32_t slot) {
    std::erase_if(slots_, [slot](const SpanBudgetSlot& one) { return one.slot == slot; });
  }

  void tick(double seconds) {
    now_ += static_cast<uint64_t>(seconds * kSecond);
    const SpanRefill refill = budget_.refill(slots_, node_, most_, now_);
    for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].tokens += refill.slots.at(i);
    node_ += refill.node;
    for (const SpanBudgetSlot& one : slots_) EXPECT_GE(one.tokens, 0);
  }
  // So many qualify: how many are sent?
  int qualify(uint32_t slot, int count) {
    SpanBudgetSlot& one = *std::ranges::find(slots_, slot, &SpanBudgetSlot::slot);
    int sent = 0;
    for (int i = 0; i < count; ++i) {
      if (one.tokens <= 0 || node_ <= 0) {
        ++one.suppressed;
        continue;
      }
      --one.tokens, --node_, ++sent;
      one.suppressed = 0;
    }
    return sent;
  }
  int64_t node() const { return node_; }

 private:
  SpanBudget budget_;
  std::vector<SpanBudgetSlot> slots_;
  int64_t node_ = 0;
  double most_;
  uint64_t now_ = 100 * kSecond;
};

TEST(SpanBudget, ABurstOfThirtyThenOneASecond) {
  Node node;
  node.add(5, "p", 1);
  node.tick(1);
  EXPECT_EQ(node.qualify(5, 1000), 30);
  int sent = 0;
  for (int i = 0; i < 100; ++i) {
    node.tick(1);
    sent += node.qualify(5, 1000);
  }
  EXPECT_EQ(sent, 100);
}

TEST(SpanBudget, HowOftenItIsCalledDoesNotMatter) {
  Node node;
  node.add(5, "p", 1);
  node.tick(1);
  node.qualify(5, 30);
  int sent = 0;
  for (int i = 0; i < 1000; ++i) {
    node.tick(0.1);
    sent += node.qualify(5, 10);
  }
  EXPECT_NEAR(sent, 100, 1);
}

TEST(SpanBudget, WhatIsNotUsedIsKeptUpToTheBurst) {
  Node node;
  node.add(5, "p", 1);
  node.tick(1);
  node.qualify(5, 30);
  node.tick(10);
  EXPECT_EQ(node.qualify(5, 100), 10);
  node.tick(3600);
  EXPECT_EQ(node.qualify(5, 100), 30);
}

TEST(SpanBudget, AContainerTakesAtMostAThirdWhileOthersWait) {
  Node node;
  node.add(5, "p", 1);
  node.add(6, "p", 1);
  node.tick(1);
  int hog = node.qualify(5, 1000), other = 0;
  EXPECT_EQ(hog, 30);
  hog = 0;
  for (int i = 0; i < 600; ++i) {
    node.tick(1);
    hog += node.qualify(5, 1000);
    other += node.qualify(6, 1000);
  }
  EXPECT_LE(hog, 205);
  EXPECT_GE(other, 199);
}

TEST(SpanBudget, SlotsOfOnePolicyShareItsTokens) {
  Node node;
  for (uint32_t slot = 5; slot < 105; ++slot) node.add(slot, "tenant", 0.2);
  node.tick(1);
  int sent = 0;
  for (int i = 0; i < 600; ++i) {
    for (uint32_t slot = 5; slot < 105; ++slot) sent += node.qualify(slot, 3);
    node.tick(1);
  }
  EXPECT_LE(sent, 6 + 120 + 1);
  EXPECT_GE(sent, 110);
}

TEST(SpanBudget, ThePoliciesTogetherStayBelowTheCeiling) {
  Node node(2);
  for (uint32_t slot = 5; slot < 10; ++slot) node.add(slot, "p" + std::to_string(slot), 1);
  node.tick(1);
  EXPECT_EQ(node.node(), 60);
  int sent = 0;
  for (int i = 0; i < 100; ++i) {
    for (uint32_t slot = 5; slot < 10; ++slot) sent += node.qualify(slot, 100);
    node.tick(1);
  }
  EXPECT_LE(sent, 60 + 200);
  EXPECT_GE(sent, 60 + 190);
}

TEST(SpanBudget, WithoutPoliciesThereAreNoTokens) {
  Node node;
  node.add(5, "p", 1);
  node.tick(1);
  EXPECT_EQ(node.node(), 30);
  node.remove(5);
  node.tick(1);
  EXPECT_EQ(node.node(), 0);
  node.add(5, "q", 1);
  node.tick(1);
  EXPECT_EQ(node.node(), 30);
}

TEST(SpanBudget, ClocksThatStandStillOrGoBackBringNothing) {
  SpanBudget budget;
  std::vector<SpanBudgetSlot> slots{{5, "p", 1, 0, 0}};
  EXPECT_EQ(budget.refill(slots, 0, 10, 100 * kSecond).node, 30);
  slots[0].tokens = 0;
  EXPECT_EQ(budget.refill(slots, 0, 10, 100 * kSecond).node, 0);
  EXPECT_EQ(budget.refill(slots, 0, 10, 90 * kSecond).slots[0], 0);
  EXPECT_EQ(budget.refill(slots, 0, 10, 95 * kSecond).slots[0], 5);
}

}  // namespace
}  // namespace sonde
