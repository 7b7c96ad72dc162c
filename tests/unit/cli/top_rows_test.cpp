// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/top_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace sonde::cli {
namespace {

const std::vector<TopColumn> kColumns = essential_columns();
constexpr std::size_t kRead = 0, kLatency = 3, kErrors = 4;

TopMoment::Subject subject(const char* name, double read, double errors) {
  TopMoment::Subject one{name, std::vector<TopMoment::Cell>(kColumns.size())};
  one.cells[kRead].number = read;
  one.cells[kErrors].number = errors;
  return one;
}

TEST(TopRows, AreRatesBetweenTwoMoments) {
  TopMoment before, after;
  before.subjects[1] = subject("a", 100, 0);
  after.subjects[1] = subject("a", 300, 0);
  after.subjects[2] = subject("new", 1000, 4);
  const auto rows = rows_between(before, after, 2, kColumns, kRead);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].name, "new");
  EXPECT_DOUBLE_EQ(rows[0].values[kRead], 500);
  EXPECT_DOUBLE_EQ(rows[0].values[kErrors], 2);
  EXPECT_DOUBLE_EQ(rows[1].values[kRead], 100);
  EXPECT_LT(rows[1].values[kLatency], 0) << "no operation, no latency";
}

TEST(TopRows, LeaveOutWhoDidNothingAndSortByName) {
  TopMoment before, after;
  before.subjects[1] = after.subjects[1] = subject("idle", 5, 0);
  after.subjects[2] = subject("b", 1, 0);
  after.subjects[3] = subject("a", 1, 0);
  const auto rows = rows_between(before, after, 1, kColumns, kByName);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].name, "a");
  EXPECT_EQ(rows[1].name, "b");
}

TEST(TopRows, AMomentAddsUpWhatAColumnAsksFor) {
  static const MetricSpec kIo{.name = "sonde.file.io", .unit = "By", .description = "d"};
  static const MetricSpec kOther{.name = "sonde.tcp.io", .unit = "By", .description = "d"};
  const auto direction = [](const char* word) {
    return std::make_shared<const AttributeSet>(AttributeSet{{"disk.io.direction", std::string(word)}});
  };
  auto series = std::make_shared<ResourceSeries>();
  auto resource = std::make_shared<Resource>();
  resource->id = 7;
  resource->attributes = {{"sonde.cgroup.path", std::string("/box")}};
  series->resource = resource;
  for (const auto& [metric, word, value] : {std::tuple{&kIo, "read", 10}, {&kIo, "write", 20}, {&kOther, "read", 40}}) {
    Point point;
    point.metric = metric;
    point.attributes = direction(word);
    point.integer = value;
    series->points.push_back(point);
  }
  const TopMoment moment = moment_of({series}, kColumns);
  ASSERT_EQ(moment.subjects.size(), 1U);
  EXPECT_EQ(moment.subjects.at(7).name, "/box");
  EXPECT_DOUBLE_EQ(moment.subjects.at(7).cells[kRead].number, 10);
  EXPECT_DOUBLE_EQ(moment.subjects.at(7).cells[1].number, 20);
}

TEST(Quantile, IsTheUpperBoundOfItsBucket) {
  TopMoment::Cell before, after;
  before.count = 10;
  before.buckets[-40] = 10;
  after.count = 110;
  after.buckets[-40] = 108;  // 98 of them new: (2^-10, 2^-9.75] seconds
  after.buckets[-20] = 2;
  EXPECT_DOUBLE_EQ(quantile(before, after, 0.5), std::exp2(-39 / 4.0));
  EXPECT_DOUBLE_EQ(quantile(before, after, 0.99), std::exp2(-19 / 4.0));
  EXPECT_LT(quantile(after, after, 0.5), 0);
}

TEST(TopColumns, EveryProbeHasSomeAndNoTwoAreCalledTheSame) {
  std::set<std::string> names{"name"};
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    const auto columns = columns_of(info);
    EXPECT_FALSE(columns.empty()) << info.name;
    std::set<std::string> shown;
    for (const TopColumn& column : columns) {
      EXPECT_TRUE(names.insert(column.name).second) << column.name;
      EXPECT_EQ(column.metric.find("sonde."), 0U);
      shown.insert(column.metric);
    }
    EXPECT_EQ(shown.size(), info.metrics.size()) << info.name << ": a metric has no column";
  }
  for (const char* name :
       {"file.io.read", "tcp.io.transmit", "tcp.rtt.p99", "thread.time.running", "page_cache.read.hit"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(TopColumns, TheEssentialsAreThoseThatTheTablesMark) {
  constexpr const char* kBytes = "sonde.file.io";
  constexpr const char* kOperations = "sonde.file.operation.duration";
  constexpr const char* kFailed = "sonde.file.operation.errors";
  constexpr const char* kWaits = "sonde.sched.run_queue.duration";
  const std::vector<TopColumn> expected = {
      {"read", "READ/S", "read_bytes_per_second", kBytes, "read", Measure::Rate, Form::Bytes, 'r'},
      {"write", "WRITE/S", "write_bytes_per_second", kBytes, "write", Measure::Rate, Form::Bytes, 'w'},
      {"operations", "OPS/S", "file_operations_per_second", kOperations, "", Measure::Count, Form::Number, 'o', true,
       "ops: files"},
      {"latency", "OPS P99", "file_operation_p99_seconds", kOperations, "", Measure::P99, Form::Seconds, 'l'},
      {"errors", "ERR/S", "file_errors_per_second", kFailed, "", Measure::Rate, Form::Number, 'e'},
      {"waits", "WAITS/S", "run_queue_waits_per_second", kWaits, "", Measure::Count, Form::Number, 's', false,
       "waits: CPU"},
      {"wait-latency", "WAIT P99", "run_queue_wait_p99_seconds", kWaits, "", Measure::P99, Form::Seconds, 'p'}};
  EXPECT_EQ(kColumns, expected);
}

TEST(TopColumns, WrongNamesAreToldTheNearest) {
  const auto probes = probes_named("netwrok");
  ASSERT_FALSE(probes);
  EXPECT_EQ(probes.error().message(), "there is no probe 'netwrok'; did you mean network?");
  EXPECT_EQ(probes_named("network,fs,io")->size(), 2U) << "aliases, each once";
  std::vector<std::string_view> of_cpu;
  const auto of_alias = probes_named("cpu,throttle");
  ASSERT_TRUE(of_alias);
  for (const ModuleInfo* probe : *of_alias) of_cpu.push_back(probe->name);
  EXPECT_EQ(of_cpu, (std::vector<std::string_view>{"sched", "cpufreq", "interrupts", "throttle"})) << "and its parts";
  EXPECT_EQ(probes_named("all")->size(), modules().size());
  EXPECT_FALSE(probes_named(","));
  const auto column = column_named(kColumns, "opertions");
  ASSERT_FALSE(column);
  EXPECT_EQ(column.error().message(), "there is no column 'opertions'; did you mean operations?");
  EXPECT_EQ(*column_named(kColumns, "read"), kRead);
  EXPECT_EQ(*column_named(kColumns, "name"), kByName);
}

}  // namespace
}  // namespace sonde::cli
