// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "agent/module/function_names.h"
#include "agent/module/module.h"
#include "bpf/modules/function/function.h"

namespace sonde {
namespace {

const Module& module() { return *modules()[static_cast<std::size_t>(find_module("function"))].module; }

TEST(FunctionModule, CellsSpeakOfNamesAndWhatIsCounted) {
  const auto number = function_number("module-test");
  ASSERT_TRUE(number);
  const auto bytes = module().decode_cell(FUNCTION_CELL(*number, FUNCTION_COUNT_BYTES));
  EXPECT_EQ(module().info().metrics[bytes.metric].name, "sonde.function.bytes");
  EXPECT_EQ(bytes.values[0], "module-test");
  const auto errors = module().decode_cell(FUNCTION_CELL(*number, FUNCTION_COUNT_ERRORS));
  EXPECT_EQ(module().info().metrics[errors.metric].name, "sonde.function.errors");
  const auto other = module().decode_cell(kOtherCells);
  EXPECT_EQ(module().info().metrics[other.metric].name, "sonde.function.calls");
  EXPECT_EQ(other.values[0], "_OTHER");
  const auto duration = module().decode_keyed(*number);
  EXPECT_EQ(module().info().metrics[duration.metric].name, "sonde.function.duration");
  EXPECT_EQ(duration.values[0], "module-test");
}

TEST(FunctionModule, NothingIsMeasuredThatNoPolicyDeclares) {
  for (const MetricSpec& metric : module().info().metrics) EXPECT_EQ(metric.level, Level::OptIn) << metric.name;
  for (const ProgramSpec& program : module().info().programs) EXPECT_TRUE(program.by_agent) << program.program;
}

}  // namespace
}  // namespace sonde
