// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/overhead.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

TEST(SampledUse, ASampleStandsForTheTimeSinceTheOneBefore) {
  // 1,000 runs of 200 ns in half a second, after a minute without a sample.
  const ModuleUse use = sampled_use({}, {5'000, 70'000}, {6'000, 270'000}, kSecondNs / 2, 60 * kSecondNs);
  EXPECT_DOUBLE_EQ(use.runs_per_second, 2'000);
  EXPECT_DOUBLE_EQ(use.ns_per_second, 400'000);
  EXPECT_DOUBLE_EQ(use.mean_ns, 200);
  EXPECT_EQ(use.runs, 120'000U);
  EXPECT_EQ(use.run_ns, 24'000'000U);
}

TEST(SampledUse, RatesAreOfTheLastSampleAndTotalsGrow) {
  ModuleUse use = sampled_use({}, {0, 0}, {100, 10'000}, kSecondNs, 10 * kSecondNs);
  use = sampled_use(use, {100, 10'000}, {400, 130'000}, kSecondNs, 60 * kSecondNs);
  EXPECT_DOUBLE_EQ(use.runs_per_second, 300);
  EXPECT_DOUBLE_EQ(use.mean_ns, 400);
  EXPECT_EQ(use.runs, 1'000U + 18'000U);
  EXPECT_EQ(use.run_ns, 100'000U + 7'200'000U);
}

TEST(SampledUse, NothingRanIsNothingAndNoDivisionByZero) {
  const ModuleUse use = sampled_use({}, {7, 7}, {7, 7}, 0, kSecondNs);
  EXPECT_EQ(use.runs_per_second, 0);
  EXPECT_EQ(use.mean_ns, 0);
  EXPECT_EQ(use.runs + use.run_ns, 0U);
}

TEST(SampledUse, TotalsThatWentBackAreNoGiantCost) {
  const ModuleUse use = sampled_use({.runs = 50, .run_ns = 5'000}, {1'000, 900'000}, {3, 400}, kSecondNs, kSecondNs);
  EXPECT_EQ(use.runs_per_second, 0);
  EXPECT_EQ(use.ns_per_second, 0);
  EXPECT_EQ(use.runs, 50U);
  EXPECT_EQ(use.run_ns, 5'000U);
}

TEST(SampledUse, MilliCpuFollowsFromIt) {
  // 40,000 runs a second of 250 ns are ten milli-CPU, whatever the length of the sample.
  for (const uint64_t sample_ns : {kSecondNs / 10, kSecondNs, 3 * kSecondNs}) {
    const uint64_t runs = 40'000 * sample_ns / kSecondNs;
    const ModuleUse use = sampled_use({}, {}, {runs, runs * 250}, sample_ns, 60 * kSecondNs);
    EXPECT_DOUBLE_EQ(use.ns_per_second / 1e6, 10);
  }
}

}  // namespace
}  // namespace sonde
