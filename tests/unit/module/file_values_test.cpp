// SPDX-License-Identifier: Apache-2.0
#include "agent/module/file_values.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

TEST(FileValues, CpuStatIsReadByKey) {
  constexpr std::string_view kText =
      "usage_usec 5\nnr_periods 12\nnr_throttled 3\nthrottled_usec 4567\nnr_bursts 0\nburst_usec x\nlast";
  EXPECT_EQ(value_of_key(kText, "nr_periods"), 12U);
  EXPECT_EQ(value_of_key(kText, "throttled_usec"), 4567U);
  EXPECT_EQ(value_of_key(kText, "throttled"), std::nullopt) << "not the start of a key";
  EXPECT_EQ(value_of_key(kText, "burst_usec"), std::nullopt);
  EXPECT_EQ(value_of_key(kText, "last"), std::nullopt);
  EXPECT_EQ(value_of_key("", "nr_periods"), std::nullopt);
  EXPECT_EQ(value_of_key("nr_periods", "nr_periods"), std::nullopt);
}

TEST(FileValues, ANumberStandsAtTheStart) {
  EXPECT_EQ(leading_number("2400000\n"), 2'400'000U);
  EXPECT_EQ(leading_number(" 1"), std::nullopt);
  EXPECT_EQ(leading_number(""), std::nullopt);
}

}  // namespace
}  // namespace sonde
