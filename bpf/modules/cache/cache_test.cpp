// SPDX-License-Identifier: Apache-2.0
#include "bpf/modules/cache/cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "agent/module/module.h"

namespace sonde {
namespace {

const Module& cache() { return *modules()[static_cast<std::size_t>(find_module("cache"))].module; }

TEST(CacheTables, AdviceIsNumberedAsTheSystemDoes) {
  EXPECT_EQ(int{CACHE_NORMAL}, POSIX_FADV_NORMAL);
  EXPECT_EQ(int{CACHE_RANDOM}, POSIX_FADV_RANDOM);
  EXPECT_EQ(int{CACHE_SEQUENTIAL}, POSIX_FADV_SEQUENTIAL);
  EXPECT_EQ(int{CACHE_WILLNEED}, POSIX_FADV_WILLNEED);
  EXPECT_EQ(int{CACHE_DONTNEED}, POSIX_FADV_DONTNEED);
  EXPECT_EQ(int{CACHE_NOREUSE}, POSIX_FADV_NOREUSE);
}

TEST(CacheTables, AFailedCallIsNamedByAdviceAndError) {
  const CellSeries known = cache().decode_cell(CACHE_FAILURE(CACHE_WILLNEED, EBADF));
  EXPECT_EQ(cache().info().metrics[known.metric].name, "sonde.fadvise.calls");
  EXPECT_EQ(known.values[0], "willneed");
  EXPECT_EQ(known.values[1], "EBADF");
  const CellSeries unknown = cache().decode_cell(CACHE_FAILURE(CACHE_ADVICES, EINVAL));
  EXPECT_EQ(unknown.values[0], "");
  EXPECT_EQ(unknown.values[1], "EINVAL");
  EXPECT_EQ(cache().decode_cell(CACHE_FAILURE(0, 0xfff0)).values[1], "_OTHER");
  EXPECT_EQ(cache().decode_cell(kOtherCells).values[1], "_OTHER");
}

TEST(CacheTables, StandardIsHitsMissesAndCallsOfFadvise) {
  for (const SeriesSpec& series : cache().info().series) {
    const std::string_view name = cache().info().metrics[series.metric].name;
    EXPECT_EQ(series.level == Level::Standard, name == "sonde.page_cache.read" || name == "sonde.fadvise.calls")
        << name;
    EXPECT_GE(series.level, Level::Standard) << name;
  }
}

// Of each hook that has two programs, one is there whatever the kernel can do.
TEST(CacheTables, EveryKernelNeedsOneProgramOfEachPair) {
  for (int can = 0; can < 8; ++can) {
    Features features;
    features.fentry = can & 1;
    features.preemptible = can & 2;
    features.has_tracepoint = [can](std::string_view) { return (can & 4) != 0; };
    features.has_function = [](std::string_view) { return true; };
    int reads = 0;
    int advice = 0;
    for (const ProgramSpec& program : cache().info().programs) {
      if (!program.needed || !program.needed(features)) continue;
      reads += program.flags == CACHE_FLAG_READ;
      advice += (program.flags & CACHE_FLAG_ADVICE) != 0;
    }
    EXPECT_EQ(reads, 3) << can;
    EXPECT_EQ(advice, 1) << can;
  }
}

}  // namespace
}  // namespace sonde
