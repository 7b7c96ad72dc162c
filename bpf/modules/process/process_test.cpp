// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <csignal>
#include <set>

#include "agent/module/module.h"
#include "bpf/modules/process/process.h"

namespace sonde {
namespace {

const Module& process() { return *modules()[static_cast<std::size_t>(find_module("process"))].module; }

TEST(ProcessTables, NothingIsAskedBelowDetailed) {
  for (const SeriesSpec& series : process().info().series) {
    EXPECT_EQ(series.level, Level::Detailed) << process().info().metrics[series.metric].name;
  }
}

TEST(ProcessTables, EachHookIsOnlyAttachedForWhatItCounts) {
  for (const ProgramSpec& program : process().info().programs) {
    uint8_t expected = PROCESS_FLAG_EXITS | PROCESS_FLAG_LIFETIME;
    if (program.program == "process_fork") expected = PROCESS_FLAG_FORKS;
    if (program.program == "process_exec") expected = PROCESS_FLAG_EXECS;
    EXPECT_EQ(program.flags, expected) << program.program;
  }
}

TEST(ProcessCells, SignalsHaveTheirNames) {
  const CellSeries killed = process().decode_cell(SIGKILL);
  EXPECT_EQ(process().info().metrics[killed.metric].name, "sonde.process.exits");
  EXPECT_EQ(killed.values[0], "signal");
  EXPECT_EQ(killed.values[1], "SIGKILL");
  EXPECT_EQ(process().decode_cell(SIGSEGV).values[1], "SIGSEGV");
  EXPECT_EQ(process().decode_cell(static_cast<uint32_t>(SIGRTMIN)).values[1], "SIGRTMIN");
  EXPECT_EQ(process().decode_cell(static_cast<uint32_t>(SIGRTMIN) + 3).values[1], "SIGRTMIN+3");
  EXPECT_EQ(process().decode_cell(kOtherCells).values[1], "_OTHER");
}

TEST(ProcessCells, EverySignalHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (uint32_t signal = 1; signal <= 64; ++signal) {
    const std::string_view name = process().decode_cell(signal).values[1];
    EXPECT_TRUE(name.starts_with("SIG")) << signal;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

}  // namespace
}  // namespace sonde
