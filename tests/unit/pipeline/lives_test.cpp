// SPDX-License-Identifier: Apache-2.0
// A container that is started again, and again: one stream, of which nothing is lost and nothing counted twice.
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/pipeline/last_values.h"

namespace sonde {
namespace {

using namespace sonde::testing;

TEST(Lives, FiveEqualLivesOfACrashingContainerAreAllSeen) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  for (uint64_t life = 0; life < 5; ++life) {
    live(world, 5, World::container(50 + life, "app", world.now.boot_ns), kRead, 1000, 3 * kSecond);
    reader.take(world.emit());
    world.pass(10 * kSecond);
    world.collect();
    reader.take(world.emit());  // it waits to be started again: the last value is repeated
  }
  EXPECT_EQ(reader.increase("t.io"), 5000u);
  EXPECT_EQ(reader.instances("t.io").size(), 1u);
  const Point* read = point(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->integer, 5000);
  EXPECT_EQ(read->start_ns, 1'700'000'000 * kSecond) << "of the first life";
}

TEST(Lives, FourOomKillsAreFour) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  for (uint64_t life = 0; life < 4; ++life) {
    live(world, 5, World::container(50 + life, "app", world.now.boot_ns), kKills, 1, kSecond);
    reader.take(world.emit_due());
  }
  EXPECT_EQ(reader.increase("t.kills"), 4u);
}

TEST(Lives, SevenLivesWithinAnIntervalAreOneTotal) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  uint64_t truth = 0;
  for (uint64_t life = 0; life < 7; ++life) {
    live(world, 5 + static_cast<uint32_t>(life % 3), World::container(50 + life, "app", world.now.boot_ns), kRead,
         4 + life, kSecond / 5);
    truth += 4 + life;
  }
  reader.take(world.emit_due());
  world.collect();
  reader.take(world.emit_due());
  EXPECT_EQ(truth, 49u);
  EXPECT_EQ(reader.increase("t.io"), truth);
}

TEST(Lives, WhatIsNotStartedAgainEnds) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  live(world, 5, World::container(50, "init", world.now.boot_ns), kRead, 7, kSecond);
  reader.take(world.emit_due());
  EXPECT_GT(reader.shown("init"), 0u);
  cluster.over.insert("init");  // told of between two snapshots
  world.collect();
  reader.take(world.emit_due());
  EXPECT_EQ(reader.shown("init"), 0u);
  EXPECT_EQ(reader.increase("t.io"), 7u);
  EXPECT_EQ(world.aggregator.stats().streams, 0u);
  // Once more after all (its sandbox was made anew): not before the last point of the same id.
  cluster.over.clear();
  live(world, 5, World::container(51, "init", world.now.boot_ns), kRead, 5, kSecond);
  reader.take(world.emit_due());
  EXPECT_EQ(reader.increase("t.io"), 12u);
}

TEST(Lives, UpDownCountersAreZeroBetweenLives) {
  Cluster cluster;
  World world(cluster.options());
  world.add(5, World::container(50), World::decision(Level::Detailed));
  world.collect([&] { world.aggregator.gauge(5, id(kOpen), 4); });
  EXPECT_EQ(point(world.emit_due(), "t.open")->integer, 4);
  world.end(5);
  world.collect();
  world.remove(5);
  world.collect();
  EXPECT_EQ(point(world.emit_due(), "t.open")->integer, 0);
  world.add(6, World::container(60), World::decision(Level::Detailed));
  world.collect([&] { world.aggregator.gauge(6, id(kOpen), 2); });
  EXPECT_EQ(point(world.emit_due(), "t.open")->integer, 2);
}

// A container with a counter and a gauge, of which the gauge is 4 in the first life.
class Gauged {
 public:
  Gauged() {
    begin(5, 50);
    EXPECT_EQ(say(5, 4), 4);
  }
  void begin(uint32_t slot, uint64_t cgroup) {
    world.add(slot, World::container(cgroup, "app", world.now.boot_ns), World::decision(Level::Detailed));
  }
  void end(uint32_t slot) {
    world.end(slot);
    world.collect();
    world.remove(slot);
    world.collect();
  }
  // What is exported of it after such a sample.
  int64_t say(uint32_t slot, int64_t value) {
    world.collect([&] {
      world.aggregator.counter(slot, id(kRead), 10);
      world.aggregator.gauge(slot, id(kLimit), value);
    });
    reader.take(world.emit_due());
    const Point* said = point(world.batch, "t.limit");
    return said && !said->no_recorded_value ? said->integer : -1;
  }
  std::vector<const Point*> emit() {
    world.collect();
    reader.take(world.emit_due());
    return points(world.batch, "t.limit", "");
  }
  int64_t read() const { return point(world.batch, "t.io", "direction=read")->integer; }

  Cluster cluster;
  World world{cluster.options()};
  LastValues reader;
};

TEST(Lives, GaugesEndBetweenLives) {
  Gauged pod;
  pod.end(5);
  EXPECT_EQ(values(pod.emit()).size(), 1u) << "its last value";
  const auto after = pod.emit();
  EXPECT_TRUE(values(after).empty());
  ASSERT_EQ(marks(after).size(), 1u);
  EXPECT_EQ(pod.read(), 10) << "the counter is repeated meanwhile";
  EXPECT_TRUE(pod.emit().empty()) << "and it ends once";
  EXPECT_EQ(pod.read(), 10);
  pod.begin(6, 60);
  EXPECT_EQ(pod.say(6, 7), 7);
  EXPECT_EQ(pod.read(), 20);
  EXPECT_EQ(pod.say(6, 8), 8);
  EXPECT_EQ(pod.reader.instances("t.limit").size(), 1u);
}

TEST(Lives, GaugesGoOnInALifeThatComesBeforeTheirEndWasSent) {
  for (const int exports_between : {0, 1}) {
    Gauged pod;
    pod.end(5);
    for (int i = 0; i < exports_between; ++i) pod.emit();
    pod.begin(6, 60);
    for (int64_t value = 7; value < 10; ++value) {
      EXPECT_EQ(pod.say(6, value), value) << exports_between;
      EXPECT_TRUE(marks(points(pod.world.batch, "t.limit", "")).empty()) << exports_between;
    }
    pod.cluster.over.insert("app");
    pod.end(6);
    pod.emit();
    EXPECT_EQ(pod.reader.shown("app"), 0u);
  }
}

TEST(Lives, AGaugeThatTheNextLifeDoesNotHaveEnds) {
  Gauged pod;
  pod.end(5);
  pod.begin(6, 60);
  pod.emit();
  EXPECT_EQ(marks(pod.emit()).size(), 1u);
  EXPECT_TRUE(pod.emit().empty());
}

}  // namespace
}  // namespace sonde
