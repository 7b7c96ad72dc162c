// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "agent/module/module.h"
#include "bpf/modules/cpu_pmu/cpu_pmu.h"

namespace sonde {
namespace {

const ModuleInfo& info() { return modules()[static_cast<std::size_t>(find_module("cpu_pmu"))].module->info(); }

TEST(CpuPmuTables, EachEventIsOneSeriesWithAFlagOfItsOwnAndOnlyByName) {
  ASSERT_GE(find_module("cpu_pmu"), 0);
  std::set<uint16_t> indexes;
  uint8_t flags = 0;
  for (const SeriesSpec& series : info().series) {
    EXPECT_TRUE(indexes.insert(series.index).second);
    EXPECT_EQ(series.flag, CPU_PMU_FLAG(series.index));
    EXPECT_EQ(series.level, Level::OptIn);
    flags = static_cast<uint8_t>(flags | series.flag);
  }
  EXPECT_EQ(indexes.size(), std::size_t{CPU_PMU_EVENTS});
  EXPECT_EQ(flags, CPU_PMU_ALL);
}

TEST(CpuPmuTables, CachesHaveTheirLevel) {
  std::multiset<std::string_view> levels;
  for (const SeriesSpec& series : info().series) {
    if (info().metrics[series.metric].name.find("cache") == std::string_view::npos) {
      EXPECT_TRUE(series.values[0].empty());
    } else {
      levels.insert(series.values[0]);
    }
  }
  EXPECT_EQ(levels, (std::multiset<std::string_view>{"l1d", "l1d", "llc", "llc"}));
}

}  // namespace
}  // namespace sonde
