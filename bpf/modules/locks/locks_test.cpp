// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <sstream>

#include "agent/module/module.h"
#include "bpf/modules/locks/symbols_tables.h"

namespace sonde {
namespace {

constexpr const char* kSymbols =
    "ffffffff81000000 T _stext\n"
    "ffffffff81a00000 T __sched_text_start\n"
    "ffffffff81a00100 T mutex_lock\n"
    "ffffffff81a10000 T __sched_text_end\n"
    "ffffffff81100040 t pipe_write\n"
    "ffffffff81200000 T native_queued_spin_lock_slowpath\n"
    "ffffffff81200400 T next\n"
    "ffffffff82000000 D _sdata\n"
    "ffffffff82000040 D rtnl_mutex\n"
    "ffffffff82000080 d other_mutex\n"
    "ffffffff83000000 B __bss_stop\n";

TEST(LockSymbols, BoundsOfTheKernel) {
  std::istringstream kallsyms(kSymbols);
  const locks_bounds bounds = bounds_in(kallsyms);
  EXPECT_EQ(bounds.data_begin, 0xffffffff82000000);
  EXPECT_EQ(bounds.data_end, 0xffffffff83000000);
  EXPECT_EQ(bounds.code[0][0], 0xffffffff81a00000);
  EXPECT_EQ(bounds.code[0][1], 0xffffffff81a10000);
  EXPECT_EQ(bounds.code[1][0], 0U);
  EXPECT_EQ(bounds.code[2][0], 0xffffffff81200000);
  EXPECT_EQ(bounds.code[2][1], 0xffffffff81200400) << "up to the next function";
}

TEST(LockSymbols, HiddenAddressesAreNoBounds) {
  std::istringstream kallsyms("0000000000000000 D _sdata\n0000000000000000 B __bss_stop\n");
  EXPECT_EQ(bounds_in(kallsyms).data_end, 0U);
}

TEST(LockSymbols, TheNearestBeforeOrAHashNeverAnAddress) {
  std::istringstream kallsyms(kSymbols);
  const auto names = symbols_in(
      kallsyms,
      {{1, 0xffffffff82000040}, {2, 0xffffffff82000050}, {3, 0xffffffff81100123}, {0xabc, 0xffffc90000000000}});
  EXPECT_EQ(names.at(1), "rtnl_mutex");
  EXPECT_EQ(names.at(2), "rtnl_mutex");
  EXPECT_EQ(names.at(3), "pipe_write");
  EXPECT_EQ(names.at(0xabc), "site-0000abc");
}

TEST(LocksModule, KindsHaveTheirOwnSeries) {
  const ModuleInfo& info = modules()[static_cast<std::size_t>(find_module("locks"))].module->info();
  std::size_t waits = 0;
  for (const SeriesSpec& series : info.series) waits += info.metrics[series.metric].name == "sonde.lock.wait.duration";
  EXPECT_EQ(waits, static_cast<std::size_t>(LOCKS_KINDS));
}

}  // namespace
}  // namespace sonde
