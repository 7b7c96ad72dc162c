// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/series_limit.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kSettle = 60 * kSecond;

TEST(SeriesLimit, LowersOnlyWhoIsInTheWayAndWaitsForTheEffect) {
  SeriesLimit limit;
  EXPECT_FALSE(limit.tick({}, kSecond, kSettle));
  EXPECT_TRUE(limit.tick({"big"}, kSecond, kSettle));
  EXPECT_EQ(limit.lowered(), (std::map<std::string, int>{{"big", 1}}));
  EXPECT_FALSE(limit.tick({"big"}, 30 * kSecond, kSettle)) << "the lower level has not shown yet";
  EXPECT_TRUE(limit.tick({"big"}, 62 * kSecond, kSettle));
  EXPECT_FALSE(limit.tick({"big"}, 200 * kSecond, kSettle)) << "Minimal is as low as it gets";
  EXPECT_EQ(limit.lowered().at("big"), 2);
}

TEST(SeriesLimit, GivesBackAfterAWhileAndWaitsLongerEachTime) {
  SeriesLimit limit;
  ASSERT_TRUE(limit.tick({"big"}, 0, kSettle));
  EXPECT_FALSE(limit.tick({}, 599 * kSecond, kSettle));
  EXPECT_TRUE(limit.tick({}, 600 * kSecond, kSettle));
  EXPECT_TRUE(limit.lowered().empty());
  ASSERT_TRUE(limit.tick({"big"}, 700 * kSecond, kSettle));
  EXPECT_FALSE(limit.tick({}, 1'400 * kSecond, kSettle));
  EXPECT_TRUE(limit.tick({}, 1'901 * kSecond, kSettle));
}

}  // namespace
}  // namespace sonde
