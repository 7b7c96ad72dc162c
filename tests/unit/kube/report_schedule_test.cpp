// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/report_schedule.h"

#include <gtest/gtest.h>

namespace sonde::kube {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

NodeReport report(int64_t generation, uint64_t series = 100) {
  NodeReport report;
  report.series = series;
  report.policies = {{"", "p", generation, "Applied", 1}};
  return report;
}

struct Chance {
  uint64_t asked = 0;
  ReportSchedule schedule{[this](uint64_t most) {
    asked = most;
    return most;  // the worst
  }};
};

TEST(ReportSchedule, WritesOnChangeOnlyAndSpreadsByTheClustersSize) {
  struct Row {
    uint64_t nodes, spread;
  };
  for (const Row& row : {Row{0, 1}, Row{50, 1}, Row{1000, 10}, Row{5000, 50}, Row{100'000, 60}}) {
    Chance chance;
    chance.schedule.offer(report(1), row.nodes, 1000 * kSecond);
    EXPECT_EQ(chance.schedule.due_ns(), (1000 + row.spread) * kSecond) << row.nodes;
    chance.schedule.wrote(report(1), 1060 * kSecond);
    EXPECT_EQ(chance.schedule.due_ns(), 0U);
    chance.schedule.offer(report(1), row.nodes, 2000 * kSecond);
    EXPECT_EQ(chance.schedule.due_ns(), 0U) << "nothing changed";
  }
}

TEST(ReportSchedule, NewsThatComesMeanwhileGoesAlong) {
  Chance chance;
  chance.schedule.offer(report(1), 0, 10 * kSecond);
  const uint64_t due = chance.schedule.due_ns();
  chance.schedule.offer(report(2), 0, 11 * kSecond - 1);
  EXPECT_EQ(chance.schedule.due_ns(), due);
  EXPECT_EQ(chance.schedule.newest(), report(2));
}

TEST(ReportSchedule, CountsWaitLongerAndNewsOvertakesThem) {
  Chance chance;
  chance.schedule.offer(report(1), 1000, 10 * kSecond);
  chance.schedule.wrote(report(1), 20 * kSecond);
  chance.schedule.offer(report(1, 105), 1000, 21 * kSecond);
  EXPECT_EQ(chance.schedule.due_ns(), 0U) << "a tenth is not worth a write";
  chance.schedule.offer(report(1, 200), 1000, 22 * kSecond);
  EXPECT_EQ(chance.schedule.due_ns(), (20 + 90 + 10) * kSecond);
  chance.schedule.offer(report(2, 200), 1000, 23 * kSecond);
  EXPECT_EQ(chance.schedule.due_ns(), (23 + 10) * kSecond);
}

TEST(ReportSchedule, WhatFlapsIsWrittenTenTimesThenEveryTwentySeconds) {
  Chance chance;
  uint64_t now = 100 * kSecond;
  std::vector<uint64_t> writes;
  for (int64_t generation = 1; writes.size() < 14; ++generation) {
    chance.schedule.offer(report(generation), 0, now);
    now = std::max(now, chance.schedule.due_ns());
    chance.schedule.wrote(report(generation), now);
    writes.push_back(now);
  }
  EXPECT_LE(writes[9] - writes[0], 30 * kSecond);
  EXPECT_GE(writes[13] - writes[12], 20 * kSecond);
  EXPECT_LE(writes[13] - writes[12], 21 * kSecond);
}

TEST(ReportSchedule, FailuresWaitEverLongerAndAsLongAsTheServerSays) {
  Chance chance;
  chance.schedule.offer(report(1), 0, 0);
  uint64_t now = chance.schedule.due_ns();
  for (const uint64_t wait : {2, 4, 8, 16, 32, 64, 120, 120}) {
    chance.schedule.failed(now, 0);
    EXPECT_EQ(chance.schedule.due_ns(), now + wait * kSecond);
    now = chance.schedule.due_ns();
    chance.schedule.offer(report(1), 0, now);
    EXPECT_EQ(chance.schedule.due_ns(), now);
  }
  chance.schedule.failed(now, 100 * kSecond);
  EXPECT_GE(chance.schedule.due_ns(), now + 100 * kSecond);
  chance.schedule.wrote(report(1), now);
  chance.schedule.forget();
  chance.schedule.offer(report(1), 0, now + kSecond);
  EXPECT_NE(chance.schedule.due_ns(), 0U) << "it was deleted, so it is written again";
}

}  // namespace
}  // namespace sonde::kube
