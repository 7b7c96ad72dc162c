// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "agent/module/module.h"
#include "bpf/modules/sched/sched.h"

namespace sonde {
namespace {

const ModuleInfo& info() { return modules()[static_cast<std::size_t>(find_module("sched"))].module->info(); }

TEST(SchedTables, CpuIsAnotherNameForIt) {
  ASSERT_GE(find_module("sched"), 0);
  EXPECT_EQ(find_module("cpu"), find_module("sched"));
}

TEST(SchedTables, ItsPartsAreMeantByItsNamesAndHaveTheirOwn) {
  for (const std::string_view part : {"cpufreq", "interrupts", "throttle"}) {
    const int index = find_module(part);
    ASSERT_GE(index, 0) << part;
    const ModuleInfo& of_part = modules()[static_cast<std::size_t>(index)].module->info();
    for (const std::string_view name : {"sched", "cpu", part.data()}) {
      EXPECT_TRUE(stands_for(modules(), name, of_part)) << name << " for " << part;
    }
    EXPECT_FALSE(stands_for(modules(), part, info())) << part;
    EXPECT_FALSE(stands_for(modules(), "io", of_part)) << part;
  }
}

TEST(SchedTables, MinimalIsOneHistogramAndTheThreadTime) {
  int histograms = 0;
  int states = 0;
  for (const SeriesSpec& series : info().series) {
    if (series.level > Level::Minimal) continue;
    if (info().metrics[series.metric].name == "sonde.thread.time") {
      EXPECT_EQ(series.flag, SCHED_FLAG_THREAD);
      EXPECT_FALSE(series.values[0].empty());
      ++states;
      continue;
    }
    EXPECT_EQ(info().metrics[series.metric].name, "sonde.sched.run_queue.duration");
    EXPECT_EQ(series.flag, SCHED_FLAG_WAIT);
    EXPECT_TRUE(series.values[0].empty());
    ++histograms;
  }
  EXPECT_EQ(histograms, 1);
  EXPECT_EQ(states, SCHED_THREAD_STATES);
}

TEST(SchedTables, EverySeriesHasARowOfItsOwnInsideTheRows) {
  std::set<std::pair<Source, uint16_t>> seen;
  for (const SeriesSpec& series : info().series) {
    ASSERT_LT(series.metric, info().metrics.size());
    EXPECT_GE(series.level, info().metrics[series.metric].level);
    EXPECT_TRUE(seen.emplace(series.source, series.index).second) << series.index;
    const bool histogram = info().metrics[series.metric].instrument == Instrument::Histogram;
    EXPECT_EQ(histogram, series.source == Source::Histogram);
    EXPECT_LT(series.index, histogram ? info().histograms : info().counters);
  }
  EXPECT_EQ(seen.size(), std::size_t{SCHED_THREAD} + SCHED_THREAD_STATES + SCHED_HISTOGRAMS);
}

// What remembers figures between two context switches must see all of them, whichever series is asked.
TEST(SchedTables, TheSwitchProgramIsThereForEveryFlag) {
  uint8_t all = 0;
  for (const SeriesSpec& series : info().series) all |= series.flag;
  for (const ProgramSpec& program : info().programs) {
    if (program.program == "sched_switch") {
      EXPECT_EQ(program.flags & all, all);
      EXPECT_TRUE(program.gap.empty());
    }
    if (program.program.starts_with("sched_wakeup")) {
      EXPECT_EQ(program.flags, SCHED_FLAG_WAKEUPS);
    }
  }
}

TEST(SchedTables, TimeIsInSeconds) {
  for (const SeriesSpec& series : info().series) {
    const bool time = info().metrics[series.metric].unit == "s";
    EXPECT_EQ(series.scale, time ? 1e-9 : 1.0) << info().metrics[series.metric].name;
  }
}

}  // namespace
}  // namespace sonde
