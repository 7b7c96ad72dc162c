// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/estimate.h"

#include <gtest/gtest.h>

#include "sonde/abi.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

Estimate of(Level level, KernelLimits limits = {}) {
  Decision decision = resolve_alone(made_up::policy("p", level), made_up::context());
  return estimate(decision, limits, made_up::modules());
}

TEST(Estimate, CountsSeriesPerSubject) {
  Estimate minimal = of(Level::Minimal);
  EXPECT_EQ(minimal.series, 3);  // two of disk, one of cpu
  EXPECT_EQ(minimal.histograms, 0);
  Estimate standard = of(Level::Standard);
  EXPECT_EQ(standard.series, 4);
  EXPECT_EQ(standard.histograms, 1);
  ASSERT_EQ(standard.probes.size(), 2u);
  EXPECT_TRUE(standard.probes[0].keyed_series);
  EXPECT_EQ(of(Level::Detailed).series, 6);  // the node's metric is no subject's
  EXPECT_TRUE(of(Level::None).probes.empty());
}

TEST(Estimate, TimeIsThatOfTheCostliestOperation) {
  // Bytes alone need only the exit hook, which says what it costs; durations both.
  EXPECT_EQ(of(Level::Minimal).probes[0].ns_per_event, 100);
  EXPECT_EQ(of(Level::Standard).probes[0].ns_per_event, 218);
  EXPECT_EQ(of(Level::Standard).probes[1].ns_per_event, 130);
}

TEST(Estimate, UsualFigureOfAHook) {
  auto cost = [](std::string_view hook) { return program_cost_ns({.program = "p", .hook = hook}); };
  EXPECT_EQ(cost("tp_btf/sys_enter"), 118);
  EXPECT_EQ(cost("fexit/vfs_read"), 80);
  EXPECT_EQ(cost("uretprobe//bin/x:main"), 800);
  EXPECT_EQ(cost("iter/task_file"), 0);
}

TEST(Estimate, KernelMemoryFollowsTheLimits) {
  KernelLimits limits{.slots = 1024, .histogram_rows = 4096, .processes = 1024};
  Estimate none = of(Level::None, limits), all = of(Level::Standard, limits);
  // disk: 4 counters, 2 histogram indices, 1 gauge, cells; cpu: 1 counter
  EXPECT_EQ(all.kernel_bytes - none.kernel_bytes, 1024u * (4 * 8 + 2 * 4 + 8 + sizeof(sonde_cells) + 8));
  EXPECT_GT(none.kernel_bytes, 4096u * sizeof(sonde_histogram) + 1024u * sizeof(sonde_slot_info));
  limits.histogram_rows *= 2;
  EXPECT_NEAR(static_cast<double>(of(Level::None, limits).kernel_bytes - none.kernel_bytes),
              4096.0 * (sizeof(sonde_histogram) + 4), 4096);
}

TEST(Estimate, DefaultLimitsStayInTheBudget) {
  ResolveContext context;
  Decision decision = resolve_alone(made_up::policy("p", Level::Detailed), context);
  EXPECT_LT(estimate(decision, KernelLimits{}).kernel_bytes, 64u << 20);
}

}  // namespace
}  // namespace sonde
