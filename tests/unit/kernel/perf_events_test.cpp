// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/perf_events.h"

#include <gtest/gtest.h>
#include <linux/perf_event.h>

namespace sonde {
namespace {

TEST(PerfEvents, NamesAreThoseOfPerf) {
  const auto event = parse_perf_event("perf_event/software/page-faults-maj");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, PERF_TYPE_SOFTWARE);
  EXPECT_EQ(event->config, PERF_COUNT_SW_PAGE_FAULTS_MAJ);
  EXPECT_EQ(event->period, 1U);
}

TEST(PerfEvents, APeriodMayFollow) {
  const auto event = parse_perf_event("perf_event/hardware/cycles/1000000");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->config, PERF_COUNT_HW_CPU_CYCLES);
  EXPECT_EQ(event->period, 1000000U);
}

TEST(PerfEvents, WhatIsNotKnownIsRefusedByName) {
  for (const char* hook : {"", "tp_btf/sys_enter", "perf_event/software/none", "perf_event/software/page-faults/0",
                           "perf_event/software/page-faults/x", "perf_event/software/page-faults/1x", "perf_event/"}) {
    const auto event = parse_perf_event(hook);
    ASSERT_FALSE(event) << hook;
    EXPECT_NE(event.error().message().find(hook), std::string::npos);
  }
}

}  // namespace
}  // namespace sonde
