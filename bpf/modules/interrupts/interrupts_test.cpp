// SPDX-License-Identifier: Apache-2.0
#include "bpf/modules/interrupts/interrupts.h"

#include <gtest/gtest.h>

#include "agent/module/module.h"

namespace sonde {
namespace {

const Module& module() { return *modules()[static_cast<std::size_t>(find_module("interrupts"))].module; }

TEST(InterruptsTables, EveryMetricIsTheNodesAndRequestedByName) {
  for (const MetricSpec& metric : module().info().metrics) {
    EXPECT_TRUE(metric.node) << metric.name;
    EXPECT_EQ(metric.level, Level::OptIn) << metric.name;
  }
}

TEST(InterruptsTables, TimeIsInSeconds) {
  for (const SeriesSpec& series : module().info().series) {
    const bool time = module().info().metrics[series.metric].unit == "s";
    EXPECT_EQ(series.scale, time ? 1e-9 : 1.0) << module().info().metrics[series.metric].name;
  }
}

TEST(InterruptsTables, ACellIsTheTimeOrTheNumberOfOneInterrupt) {
  const auto metric = [](uint32_t key) { return module().info().metrics[module().decode_cell(key).metric].name; };
  constexpr uint32_t kOther = INTERRUPTS_OTHER;
  EXPECT_EQ(metric(kOther << 1), "sonde.irq.count");
  EXPECT_EQ(metric(kOther << 1 | 1), "sonde.irq.time");
  EXPECT_EQ(module().decode_cell(kOther << 1).values[1], "other");
  EXPECT_EQ(module().decode_cell(kOtherCells).values[0], "hard");
}

}  // namespace
}  // namespace sonde
