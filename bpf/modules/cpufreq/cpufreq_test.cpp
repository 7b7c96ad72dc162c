// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "agent/module/module.h"
#include "bpf/modules/cpufreq/cpu_files_tables.h"

namespace sonde {
namespace {

TEST(CpufreqTables, EveryMetricIsTheNodesAndHasASeriesOnAnyMachine) {
  const ModuleInfo& info = modules()[static_cast<std::size_t>(find_module("cpufreq"))].module->info();
  std::set<uint8_t> seen;
  for (const SeriesSpec& series : info.series) {
    EXPECT_TRUE(info.metrics[series.metric].node);
    EXPECT_EQ(series.level, Level::OptIn);
    EXPECT_EQ(series.scale, info.metrics[series.metric].unit == "s" ? 1e-6 : 1.0);
    seen.insert(series.metric);
  }
  EXPECT_EQ(seen.size(), info.metrics.size());
  EXPECT_EQ(info.series.size(), info.reads);
}

TEST(CpufreqFiles, CpusAreFoundWithWhatTheyHave) {
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
  const auto files = cpufreq::cpu_files(root.string());
  ASSERT_EQ(files.size(), 4U) << "CPU 0: frequency, changes, two states; CPU 3 comes after a hole";
  EXPECT_EQ(*read_small_file(files[0].path), "2400000\n");
  EXPECT_FALSE(read_small_file(files[1].path)) << "the driver does not count changes";
  EXPECT_EQ(files[3].state, "C1");
  EXPECT_EQ(*read_small_file(files[3].path), "18\n");
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace sonde
