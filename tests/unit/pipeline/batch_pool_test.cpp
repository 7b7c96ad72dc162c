// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/batch_pool.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

TEST(BatchPool, UsesMemoryAgainOnceTheLastOwnerLetsGo) {
  BatchPool pool;
  BatchPtr first = pool.take(1, 100, 10);
  const Point* const memory = first->points.data();
  const BatchPtr second = pool.take(1, 100, 10);
  EXPECT_NE(second->points.data(), memory) << "the first is still read";
  BatchPtr reader = first;
  first.reset();
  reader.reset();
  EXPECT_EQ(pool.take(1, 100, 10)->points.data(), memory);
}

TEST(BatchPool, ComesBackEmptyAndHoldsNothingMeanwhile) {
  BatchPool pool;
  const auto attributes = std::make_shared<const AttributeSet>();
  auto batch = pool.take(1, 2, 3);
  batch->points.resize(2);
  batch->points[1].attributes = attributes;
  batch->buckets.resize(3);
  batch->resources.resize(1);
  batch.reset();
  EXPECT_EQ(attributes.use_count(), 1);
  const auto again = pool.take(1, 2, 3);
  EXPECT_TRUE(again->points.empty());
  EXPECT_TRUE(again->buckets.empty());
  EXPECT_TRUE(again->resources.empty());
}

TEST(BatchPool, DoesNotKeepWhatIsMuchTooLarge) {
  BatchPool pool;
  pool.take(1, 100'000, 10).reset();
  EXPECT_LT(pool.take(1, 100, 10)->points.capacity(), 1000u);
}

TEST(BatchPool, BatchesOutliveIt) {
  auto pool = std::make_unique<BatchPool>();
  const auto batch = pool->take(1, 10, 10);
  pool.reset();
  batch->points.resize(10);
  EXPECT_EQ(batch->points.size(), 10u);
}

}  // namespace
}  // namespace sonde
