// SPDX-License-Identifier: Apache-2.0
#include "bpf/modules/memory/memory.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>

#include "agent/module/module.h"
#include "bpf/modules/memory/pressure_tables.h"

namespace sonde {
namespace {

const ModuleInfo& info() { return modules()[static_cast<std::size_t>(find_module("memory"))].module->info(); }

TEST(MemoryTables, OnlyMinorFaultsComeWithDetailed) {
  for (const SeriesSpec& series : info().series) {
    if (info().metrics[series.metric].name != "sonde.memory.faults") continue;
    EXPECT_EQ(series.level, series.values[0] == "major" ? Level::Standard : Level::Detailed);
    EXPECT_EQ(series.flag, series.values[0] == "major" ? MEMORY_FLAG_MAJOR : MEMORY_FLAG_MINOR);
  }
}

TEST(MemoryTables, StandardRunsNothingAtFaultsOrAllocations) {
  uint8_t standard = 0;
  for (const SeriesSpec& series : info().series) {
    if (series.level <= Level::Standard) standard |= series.flag;
  }
  for (const ProgramSpec& program : info().programs) {
    if (program.flags == 0) continue;  // at no event: the agent runs it
    const bool hot =
        program.hook.find("page-faults") != std::string_view::npos || program.flags == MEMORY_FLAG_ALLOCATIONS;
    EXPECT_EQ((program.flags & standard) == 0, hot) << program.program;
  }
}

TEST(MemoryTables, EveryProgramThatMayBeMissingSaysWhatIsMissed) {
  for (const ProgramSpec& program : info().programs) {
    EXPECT_EQ(program.gap.empty(), program.program == "memory_begin") << program.program << ": faults begin with it";
  }
}

TEST(MemoryTables, ReclaimersAndAllocatorsStandInTheOrderOfTheKernelSide) {
  std::map<std::string, uint16_t> places;
  for (const SeriesSpec& series : info().series) {
    if (series.source != Source::Counter) continue;
    places[std::string(info().metrics[series.metric].name) + "|" + std::string(series.values[0])] = series.index;
  }
  EXPECT_EQ(places["sonde.memory.reclaim.scanned|kswapd"], int{MEMORY_SCANNED} + MEMORY_KSWAPD);
  EXPECT_EQ(places["sonde.memory.reclaim.reclaimed|memcg"], int{MEMORY_RECLAIMED} + MEMORY_MEMCG);
  EXPECT_EQ(places["sonde.memory.kernel.allocated|page"], int{MEMORY_ALLOCATED} + MEMORY_PAGE);
  EXPECT_EQ(places["sonde.memory.kernel.freed|kmem_cache"], int{MEMORY_FREED} + MEMORY_KMEM_CACHE);
  EXPECT_EQ(places["sonde.memory.kernel.allocations|kmalloc"], int{MEMORY_ALLOCATIONS} + MEMORY_KMALLOC);
  EXPECT_EQ(places["sonde.memory.swap.io|read"], uint16_t{MEMORY_SWAP_IN});
}

TEST(MemoryPressure, TotalsAreTakenByKind) {
  std::array<uint64_t, 2> totals{7, 7};
  parse_pressure(
      "some avg10=0.12 avg60=0.00 avg300=0.00 total=123456\n"
      "full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n",
      totals);
  EXPECT_EQ(totals[0], 123456U);
  EXPECT_EQ(totals[1], 99U);
}

TEST(MemoryPressure, WhatIsNotUnderstoodIsLeftAlone) {
  for (const char* text :
       {"", "\n\n", "some avg10=0.00", "some total=", "some avg10=0 total=12x\n", "more avg10=0 total=12",
        "some avg10=0 total=99999999999999999999999", "total=5", "something avg10=0 total=5"}) {
    std::array<uint64_t, 2> totals{7, 8};
    parse_pressure(text, totals);
    EXPECT_EQ(totals[0], 7U) << text;
    EXPECT_EQ(totals[1], 8U) << text;
  }
}

// Kernels before 5.13 have no full line for the CPU.
TEST(MemoryPressure, AMissingKindIsLeftAlone) {
  std::array<uint64_t, 2> totals{7, 8};
  parse_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0", totals);
  EXPECT_EQ(totals[0], 0U);
  EXPECT_EQ(totals[1], 8U);
}

}  // namespace
}  // namespace sonde
