// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include "agent/module/module.h"
#include "bpf/modules/sched/cpu_files_tables.h"
#include "bpf/modules/sched/sched.h"

namespace sonde {
namespace {

const ModuleInfo& info() { return modules()[static_cast<std::size_t>(find_module("sched"))].module->info(); }

TEST(SchedTables, CpuIsAnotherNameForIt) {
  ASSERT_GE(find_module("sched"), 0);
  EXPECT_EQ(find_module("cpu"), find_module("sched"));
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
    if (series.source == Source::Read) continue;  // of cpu.stat: no program counts them
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
    if (series.source == Source::Cells) continue;  // time and number of one interrupt share a row
    EXPECT_TRUE(seen.emplace(series.source, series.index).second) << series.index;
    const bool histogram = info().metrics[series.metric].instrument == Instrument::Histogram;
    EXPECT_EQ(histogram, series.source == Source::Histogram);
    if (series.source == Source::Read) {
      EXPECT_LT(series.index, info().reads);
    } else {
      EXPECT_LT(series.index, histogram ? info().histograms : info().counters);
    }
  }
  EXPECT_EQ(seen.size(), std::size_t{SCHED_COUNTERS} + SCHED_HISTOGRAMS + info().reads);
}

// What remembers figures between two context switches must see all of them, whichever series is asked.
TEST(SchedTables, TheSwitchProgramIsThereForEveryFlag) {
  uint8_t all = 0;
  for (const SeriesSpec& series : info().series) {
    if (!info().metrics[series.metric].node) all |= series.flag;
  }
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
    EXPECT_EQ(series.scale, !time                           ? 1.0
                            : series.source == Source::Read ? 1e-6
                                                            : 1e-9)
        << info().metrics[series.metric].name;
  }
}

TEST(SchedFiles, CpuStatIsReadByKey) {
  constexpr std::string_view kText =
      "usage_usec 5\nnr_periods 12\nnr_throttled 3\nthrottled_usec 4567\nnr_bursts 0\nburst_usec x\nlast";
  EXPECT_EQ(sched::value_of(kText, "nr_periods"), 12U);
  EXPECT_EQ(sched::value_of(kText, "throttled_usec"), 4567U);
  EXPECT_EQ(sched::value_of(kText, "throttled"), std::nullopt) << "not the begin of a key";
  EXPECT_EQ(sched::value_of(kText, "burst_usec"), std::nullopt);
  EXPECT_EQ(sched::value_of(kText, "last"), std::nullopt);
  EXPECT_EQ(sched::value_of("", "nr_periods"), std::nullopt);
  EXPECT_EQ(sched::value_of("nr_periods", "nr_periods"), std::nullopt);
}

TEST(SchedFiles, CpusAreFoundWithWhatTheyHave) {
  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("sonde-cpus-" + std::to_string(getpid()));
  const auto put = [&](const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  };
  put("cpu0/cpufreq/scaling_cur_freq", "2400000\n");
  put("cpu0/cpuidle/state0/name", "POLL\n");
  put("cpu0/cpuidle/state0/time", "17\n");
  put("cpu0/cpuidle/state1/name", "C1\n");
  put("cpu0/cpuidle/state1/time", "18\n");
  put("cpu1/online", "1\n");
  put("cpu3/cpufreq/scaling_cur_freq", "1\n");
  const auto files = sched::cpu_files(root.string());
  ASSERT_EQ(files.size(), 4U) << "CPU 0: frequency, changes, two states; CPU 3 comes after a hole";
  EXPECT_EQ(sched::read_small(files[0].path), "2400000\n");
  EXPECT_EQ(sched::read_small(files[1].path), std::nullopt) << "the driver does not count changes";
  EXPECT_EQ(files[3].state, "C1");
  EXPECT_EQ(sched::read_small(files[3].path), "18\n");
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace sonde
