// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/bucket_run.h"

#include <gtest/gtest.h>
#include <sonde/histogram.h>

#include <array>
#include <random>

namespace sonde {
namespace {

TEST(BucketRun, IsTheSameAsAnArray) {
  std::mt19937 random(7);
  BucketRun run;
  std::array<uint64_t, SONDE_HIST_BUCKETS + 1> truth{};
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t bucket = random() % (SONDE_HIST_BUCKETS + 1);
    const uint64_t count = random() % 3 ? random() % 5 : uint64_t{random()} << (random() % 8);
    run.add(bucket, count);
    truth[bucket] += count;
  }
  std::vector<uint64_t> out;
  const uint32_t first = run.append_to(out);
  for (uint32_t i = 0; i < truth.size(); ++i) {
    EXPECT_EQ(run.at(i), truth[i]);
    EXPECT_EQ(i < first || i >= first + out.size() ? 0 : out[i - first], truth[i]);
  }
}

TEST(BucketRun, CarriesBeyond32Bits) {
  BucketRun run;
  run.add(50, 0xffffffff);
  const std::size_t narrow = run.heap_bytes();
  run.add(50, 2);
  EXPECT_EQ(run.at(50), 0x100000001u);
  EXPECT_EQ(run.heap_bytes(), 2 * narrow);
  run.add(10, 1);
  EXPECT_EQ(run.at(50), 0x100000001u);
  BucketRun sum;
  sum.add(run);
  sum.add(run);
  EXPECT_EQ(sum.at(50), 0x200000002u);
  EXPECT_EQ(sum.at(10), 2u);
}

TEST(BucketRun, TakesOnlyTheRoomItNeeds) {
  BucketRun run;
  EXPECT_EQ(run.heap_bytes(), 0u);
  run.add(60, 1);
  run.add(63, 1);
  EXPECT_EQ(run.heap_bytes(), 32u);
  std::vector<uint64_t> out;
  EXPECT_EQ(run.append_to(out), 60u);
  EXPECT_EQ(out, (std::vector<uint64_t>{1, 0, 0, 1}));
}

TEST(BucketRun, EverythingBeyondTheLastBucketCountsThere) {
  BucketRun run;
  run.add(SONDE_HIST_BUCKETS, 1);
  run.add(60'000, 1);
  EXPECT_EQ(run.at(SONDE_HIST_BUCKETS), 2u);
}

}  // namespace
}  // namespace sonde
