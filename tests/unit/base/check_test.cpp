// SPDX-License-Identifier: Apache-2.0
#include "agent/base/check.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

#ifdef SONDE_CHECKED
constexpr int kEvaluated = 1;
#else
constexpr int kEvaluated = 0;
#endif

TEST(Check, IsEvaluatedOnlyInCheckedBuilds) {
  int times = 0;
  SONDE_CHECK(++times > 0);
  EXPECT_EQ(times, kEvaluated);
}

}  // namespace
}  // namespace sonde
