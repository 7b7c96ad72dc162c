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

// All containers of a pod and its sandbox at once, each under an id of its own.
class WholePod {
 public:
  // One life of the pod: each container counts so much.
  void live(uint64_t ids, uint64_t amount) {
    Subject sandbox = World::container(ids, "", world.now.boot_ns);
    sandbox.type = ContainerType::Sandbox;
    const std::vector<Subject> all = {sandbox, of("init", ids + 1), of("app", ids + 2), of("side", ids + 3)};
    for (uint32_t i = 0; i < all.size(); ++i) world.add(10 + i, all[i]);
    count(amount);
    for (uint32_t i = 0; i < all.size(); ++i) world.end(10 + i);
    count(1);
    for (uint32_t i = 0; i < all.size(); ++i) world.remove(10 + i);
    collect();
  }
  void collect() {
    world.collect();
    reader.take(world.emit_due());
  }
  static constexpr uint64_t kParts = 4;

  Cluster cluster;
  World world{cluster.options()};
  LastValues reader;

 private:
  Subject of(const std::string& name, uint64_t cgroup) { return World::container(cgroup, name, world.now.boot_ns); }
  void count(uint64_t amount) {
    world.collect([&] {
      for (uint32_t i = 0; i < kParts; ++i) world.aggregator.counter(10 + i, id(kRead), amount);
    });
    reader.take(world.emit_due());
  }
};

TEST(Lives, AllContainersOfAPodStartedAgainTogetherGoOn) {
  WholePod pod;
  uint64_t truth = 0;
  for (uint64_t life = 0; life < 4; ++life) {
    pod.live(100 * (life + 1), 1000);
    truth += WholePod::kParts * 1001;
    EXPECT_EQ(pod.reader.increase("t.io"), truth) << life;
    pod.collect();  // longer than an interval until the next
  }
  EXPECT_EQ(pod.reader.instances("t.io").size(), WholePod::kParts) << "each has one stream";
  for (const Point* each : points(pod.world.batch, "t.io", "direction=read")) {
    EXPECT_EQ(each->start_ns, 1'700'000'000 * kSecond) << "of the first life";
    EXPECT_EQ(each->integer, 4004);
  }
}

// The init container had succeeded and was over before: its stream had ended, and goes on with a later start.
TEST(Lives, AnInitContainerThatRunsOnceMoreWithItsPodIsAllThere) {
  WholePod pod;
  for (uint64_t life = 0; life < 3; ++life) {
    pod.cluster.over.clear();
    pod.live(100 * (life + 1), 1000);
    pod.cluster.over.insert("init");
    pod.collect();
    EXPECT_EQ(pod.reader.shown("shop.web.init"), 0u);
    EXPECT_GT(pod.reader.shown("shop.web.app"), 0u);
  }
  EXPECT_EQ(pod.reader.increase("t.io"), 3 * WholePod::kParts * 1001);
  EXPECT_EQ(pod.reader.instances("t.io").size(), WholePod::kParts);
}

// Resized in place: of two containers the one whose resources say so is started again, the other one goes on.
TEST(Lives, AResizeThatStartsOneContainerAgainIsOneStreamOfEach) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  world.add(8, World::container(80, "side", world.now.boot_ns));
  for (uint64_t life = 0; life < 3; ++life) {
    Subject app = World::container(50 + life, "app", world.now.boot_ns);
    app.restart_count = static_cast<int>(life);
    world.add(5, app);
    world.collect([&] {
      world.aggregator.counter(5, id(kRead), 1000);
      world.aggregator.counter(8, id(kRead), 7);
    });
    reader.take(world.emit_due());
    world.end(5);
    world.collect([&] { world.aggregator.counter(8, id(kRead), 7); });
    world.remove(5);
    reader.take(world.emit());
  }
  world.collect();
  reader.take(world.emit_due());
  EXPECT_EQ(reader.increase("t.io"), 3 * (1000 + 2 * 7));
  EXPECT_EQ(reader.instances("t.io").size(), 2u);
  const auto now = values(points(world.batch, "t.io", "direction=read"));
  ASSERT_EQ(now.size(), 2u);
  for (const Point* each : now) EXPECT_EQ(each->start_ns, 1'700'000'000 * kSecond);
}

}  // namespace
}  // namespace sonde
