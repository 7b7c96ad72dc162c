// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/top_rows.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sonde::cli {
namespace {

TopMoment::Subject subject(const char* name, double read, double errors) {
  TopMoment::Subject one;
  one.name = name;
  one.read = read;
  one.errors = errors;
  return one;
}

TEST(TopRows, AreRatesBetweenTwoMoments) {
  TopMoment before, after;
  before.subjects[1] = subject("a", 100, 0);
  after.subjects[1] = subject("a", 300, 0);
  after.subjects[2] = subject("new", 1000, 4);
  const auto rows = rows_between(before, after, 2, TopColumn::Read);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].name, "new");
  EXPECT_DOUBLE_EQ(rows[0].read, 500);
  EXPECT_DOUBLE_EQ(rows[0].errors, 2);
  EXPECT_DOUBLE_EQ(rows[1].read, 100);
  EXPECT_LT(rows[1].operation_p99, 0) << "no operation, no latency";
}

TEST(TopRows, LeaveOutWhoDidNothingAndSortByName) {
  TopMoment before, after;
  before.subjects[1] = after.subjects[1] = subject("idle", 5, 0);
  after.subjects[2] = subject("b", 1, 0);
  after.subjects[3] = subject("a", 1, 0);
  const auto rows = rows_between(before, after, 1, TopColumn::Name);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].name, "a");
  EXPECT_EQ(rows[1].name, "b");
}

TEST(Quantile, IsTheUpperBoundOfItsBucket) {
  TopMoment::Histogram before, after;
  before.count = 10;
  before.buckets[-40] = 10;
  after.count = 110;
  after.buckets[-40] = 108;  // 98 of them new: (2^-10, 2^-9.75] seconds
  after.buckets[-20] = 2;
  EXPECT_DOUBLE_EQ(quantile(before, after, 0.5), std::exp2(-39 / 4.0));
  EXPECT_DOUBLE_EQ(quantile(before, after, 0.99), std::exp2(-19 / 4.0));
  EXPECT_LT(quantile(after, after, 0.5), 0);
}

}  // namespace
}  // namespace sonde::cli
