// SPDX-License-Identifier: Apache-2.0
// sonde.histogram.sample.ratio: there while a policy lets a probe's histograms take one operation in so many.
#include <gtest/gtest.h>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

constexpr const char* kRatio = "sonde.histogram.sample.ratio";

Decision sampled(uint16_t every) {
  Decision decision = World::decision();
  decision.probes[0].sample_every = every;
  return decision;
}

TEST(SampleRatio, IsOnTheContainersResourceWhereHistogramsAreSampled) {
  World world;
  world.add(5, World::container(50, "sampled"), sampled(4));
  world.add(6, World::container(60, "whole"));
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 1);
    world.aggregator.counter(6, id(kRead), 1);
  });
  world.emit_due();
  check_structure(*world.batch);
  ASSERT_EQ(points(world.batch, kRatio).size(), 1u);
  const Point* ratio = point(world.batch, kRatio, "sonde.probe=test");
  ASSERT_TRUE(ratio);
  EXPECT_DOUBLE_EQ(ratio->real, 0.25);
  EXPECT_EQ(attribute(*resource_of(world.batch, ratio), "k8s.container.name"), "sampled");
}

TEST(SampleRatio, FollowsThePolicyAndEndsWithIt) {
  World world;
  world.add(5, World::container(50), sampled(4));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
  world.emit_due();
  world.decide(5, sampled(8));
  world.collect();
  EXPECT_DOUBLE_EQ(point(world.emit_due(), kRatio, "sonde.probe=test")->real, 0.125);
  world.decide(5, sampled(1));
  world.collect();
  EXPECT_TRUE(point(world.emit_due(), kRatio, "sonde.probe=test")->no_recorded_value);
  world.collect();
  EXPECT_TRUE(points(world.emit_due(), kRatio).empty());
}

TEST(SampleRatio, HasAnEndMarkWhenTheContainerEnds) {
  World world;
  world.add(5, World::container(50), sampled(4));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
  world.emit_due();
  world.end(5);
  world.collect();
  const auto last = points(world.emit(), kRatio, "sonde.probe=test");
  ASSERT_EQ(last.size(), 2u);
  EXPECT_FALSE(last[0]->no_recorded_value);
  EXPECT_TRUE(last[1]->no_recorded_value);
}

}  // namespace
}  // namespace sonde
