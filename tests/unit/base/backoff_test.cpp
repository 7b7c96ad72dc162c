// SPDX-License-Identifier: Apache-2.0
#include "agent/base/backoff.h"

#include <gtest/gtest.h>

#include <vector>

namespace sonde {
namespace {

TEST(Backoff, GrowsWithJitterUpToTheLimit) {
  Backoff backoff({.initial_ns = 5'000'000'000, .max_ns = 30'000'000'000, .multiplier = 1.5, .jitter = 0.5},
                  Chance(42));
  double middle = 5e9;
  std::vector<uint64_t> waits;
  for (int i = 0; i < 50; i++) {
    const auto wait = static_cast<double>(backoff.next());
    EXPECT_GE(wait, middle * 0.5);
    EXPECT_LE(wait, middle * 1.5);
    waits.push_back(static_cast<uint64_t>(wait / middle * 1000));
    middle = std::min(middle * 1.5, 30e9);
  }
  std::sort(waits.begin(), waits.end());
  EXPECT_LT(waits.front(), 650U);  // the jitter is really there
  EXPECT_GT(waits.back(), 1'350U);
  backoff.reset();
  EXPECT_LE(backoff.next(), 7'500'000'000U);
}

TEST(Backoff, WhatTheOtherSideAskedForIsTheBase) {
  Backoff backoff({.initial_ns = 1'000, .max_ns = 10'000, .multiplier = 1.5, .jitter = 0}, Chance(1));
  EXPECT_EQ(backoff.next(4'000), 4'000U);
  EXPECT_EQ(backoff.next(), 6'000U);
  EXPECT_EQ(backoff.next(100), 9'000U);  // never less than our own
  EXPECT_EQ(backoff.next(50'000), 50'000U);
  Backoff jittered({.initial_ns = 1'000, .max_ns = 10'000, .multiplier = 1.5, .jitter = 0.5}, Chance(1));
  for (int i = 0; i < 20; i++) EXPECT_GE(jittered.next(5'000), 5'000U);
}

TEST(Chance, StaysWithinItsLimits) {
  Chance chance(7);
  uint64_t least = UINT64_MAX, most = 0;
  for (int i = 0; i < 1'000; i++) {
    const uint64_t number = chance.around(uint64_t{1'000}, 0.1);
    least = std::min(least, number);
    most = std::max(most, number);
    EXPECT_LE(chance.between(3, 5) - 3, 2U);
  }
  EXPECT_GE(least, 900U);
  EXPECT_LE(most, 1'100U);
  EXPECT_LT(least, 920U);
  EXPECT_GT(most, 1'080U);
  EXPECT_EQ(chance.around(uint64_t{0}, 0.1), 0U);
  EXPECT_EQ(chance.around(uint64_t{1'000}, 0), 1'000U);
}

}  // namespace
}  // namespace sonde
