// SPDX-License-Identifier: Apache-2.0
// How streams begin, change and end.
#include <gtest/gtest.h>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

const Point* read_of(const BatchPtr& batch) { return point(batch, "t.io", "direction=read"); }

void read(World& world, uint32_t slot, uint64_t bytes) {
  world.collect([&] { world.aggregator.counter(slot, id(kRead), bytes); });
}

TEST(Lifecycle, AnEndedContainerGetsALastFlushAndEndMarks) {
  World world;
  world.add(5, World::container(50));
  read(world, 5, 1);
  world.emit_due();
  const uint64_t resource = resource_of(world.batch, read_of(world.batch))->id;
  world.end(5);
  world.pass(kSecond);
  read(world, 5, 2);
  ASSERT_TRUE(world.emit()) << "due or not: nobody wants to wait for the last numbers";
  check_structure(*world.batch);
  const auto reads = points(world.batch, "t.io", "direction=read");
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(reads[0]->integer, 3);
  EXPECT_EQ(reads[0]->time_ns, world.now.real_ns);
  EXPECT_FALSE(reads[0]->no_recorded_value);
  EXPECT_TRUE(reads[1]->no_recorded_value) << "at once: whoever reads last values would go on with them";
  EXPECT_EQ(reads[1]->time_ns, reads[0]->time_ns + 1'000'000);
  EXPECT_EQ(reads[1]->start_ns, reads[0]->start_ns);
  EXPECT_EQ(marks(points(world.batch, "t.kills")).size(), 1u);
  for (const Point* each : reads) EXPECT_EQ(resource_of(world.batch, each)->id, resource);
  EXPECT_FALSE(world.emit_due());
  EXPECT_EQ(world.aggregator.stats().series, 0u);
  EXPECT_EQ(world.aggregator.stats().streams, 0u);
}

TEST(Lifecycle, WhatComesAfterTheEndIsUnattributed) {
  World world;
  world.add(5, World::container(50));
  world.collect();
  world.end(5);
  read(world, 5, 2);
  world.emit();
  read(world, 5, 4);
  world.emit_due();
  EXPECT_EQ(point(world.batch, "t.io", "direction=read sonde.subject=unattributed")->integer, 4);
  EXPECT_EQ(world.aggregator.stats().detours[static_cast<int>(Detour::AfterEnd)].value, 4u);
}

TEST(Lifecycle, AContainerThatLivedForAMomentIsSentNamed) {
  World world({.attached_ns = 900 * kSecond});
  world.add(5, World::container(50, "blink", world.now.boot_ns));
  world.end(5);
  world.pass(kSecond / 20);
  read(world, 5, 42);
  ASSERT_TRUE(world.emit());
  const uint64_t began = world.now.real_ns - kSecond / 20;
  const Point* zero = beginning(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(zero) << "else a reader of values could not tell that 42 bytes were read";
  EXPECT_EQ(zero->integer, 0);
  EXPECT_EQ(zero->time_ns, began + 1'000'000);
  const auto reads = values(points(world.batch, "t.io", "direction=read"));
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(reads[0]->integer, 42);
  EXPECT_EQ(reads[0]->start_ns, began);
  EXPECT_EQ(attribute(*resource_of(world.batch, reads[0]), "k8s.container.name"), "blink");
  EXPECT_EQ(marks(points(world.batch, "t.io")).size(), 1u);
}

TEST(Lifecycle, AStreamTakesItsNameUntilSomethingWasSent) {
  World world;
  Subject unnamed = World::container(50);
  unnamed.pod_name.clear();
  unnamed.container_name.clear();
  world.add(5, unnamed);
  read(world, 5, 1);
  world.add(5, World::container(50));
  read(world, 5, 2);
  world.emit_due();
  check_structure(*world.batch);
  ASSERT_EQ(points(world.batch, "t.io").size(), 1u);
  EXPECT_EQ(read_of(world.batch)->integer, 3);
  EXPECT_EQ(attribute(*resource_of(world.batch, read_of(world.batch)), "k8s.pod.name"), "web");
}

TEST(Lifecycle, ADeselectedContainerGetsItsLastCountsAndMarks) {
  World world;
  world.add(5, World::container(50));
  read(world, 5, 100);
  world.emit_due();
  world.undecide(5);
  read(world, 5, 10);  // from before the policy changed
  world.emit();
  const auto last = points(world.batch, "t.io", "direction=read");
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0]->integer, 110);
  EXPECT_TRUE(last[1]->no_recorded_value);
  read(world, 5, 1);
  EXPECT_FALSE(world.emit());
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<int>(Discard::NotSelected)].value, 1u);
  world.decide(5, World::decision());
  world.pass(kSecond);
  const uint64_t again = world.now.real_ns;
  read(world, 5, 3);
  world.emit_due();
  EXPECT_EQ(read_of(world.batch)->integer, 3);
  EXPECT_EQ(read_of(world.batch)->start_ns, again);
}

TEST(Lifecycle, ALoweredLevelEndsItsSeriesAndNoOthers) {
  World world;
  world.add(5, World::container(50), World::decision(Level::Standard));
  const auto both = [&] {
    world.aggregator.counter(5, id(kRead), 1);
    world.aggregator.counter(5, id(kTime), 1'000'000'000);
  };
  world.collect(both);
  world.emit_due();
  world.decide(5, World::decision(Level::Minimal));
  world.collect(both);
  world.emit_due();
  EXPECT_DOUBLE_EQ(point(world.batch, "t.time")->real, 2);
  world.collect(both);
  world.emit();
  EXPECT_TRUE(point(world.batch, "t.time")->no_recorded_value) << "marks do not wait for the period";
  world.emit_due();
  check_structure(*world.batch);
  EXPECT_FALSE(point(world.batch, "t.time"));
  EXPECT_EQ(read_of(world.batch)->integer, 3);

  // Raised again: with what it had, so that no total falls while the start stays.
  world.pass(kSecond);
  world.decide(5, World::decision(Level::Standard));
  const uint64_t raised = world.now.real_ns;
  world.collect(both);
  world.emit_due();
  check_structure(*world.batch);
  const Point* again = beginning(world.batch, "t.time");
  ASSERT_TRUE(again) << "what comes from now on is an increase to that";
  EXPECT_DOUBLE_EQ(again->real, 2);
  EXPECT_EQ(again->time_ns, raised);
  EXPECT_DOUBLE_EQ(point(world.batch, "t.time")->real, 3);
  EXPECT_EQ(point(world.batch, "t.time")->start_ns, read_of(world.batch)->start_ns);
  EXPECT_FALSE(beginning(world.batch, "t.io", "direction=read"));
}

TEST(Lifecycle, ALevelThatComesBackInTimeChangesNothing) {
  World world;
  world.add(5, World::container(50), World::decision(Level::Standard));
  const auto time = [&] { world.aggregator.counter(5, id(kTime), 1'000'000'000); };
  world.collect(time);
  world.emit_due();
  const uint64_t start = point(world.batch, "t.time")->start_ns;
  world.decide(5, World::decision(Level::Minimal));
  world.collect(time);
  world.decide(5, World::decision(Level::Standard));
  world.collect(time);
  world.emit_due();
  EXPECT_DOUBLE_EQ(point(world.batch, "t.time")->real, 3);
  EXPECT_EQ(point(world.batch, "t.time")->start_ns, start);
}

// One Resource is one stream: what the container counted as a whole stands, and goes on with what is charged to it and to
// none of its processes.
TEST(Lifecycle, ByProcessTheTotalsOfTheWholeGoOn) {
  World world;
  Decision decision = World::decision();
  world.add(5, World::container(50), decision);
  read(world, 5, 100);
  world.emit_due();
  decision.granularity = Granularity::Process;
  world.decide(5, decision);
  world.put(6, World::container(50), 101, "sh");
  world.decide(6, decision);
  read(world, 6, 1);
  world.emit_due();
  check_structure(*world.batch);
  const auto old = points(world.batch, "t.io", "direction=read");
  ASSERT_EQ(old.size(), 1u);
  EXPECT_EQ(old[0]->integer, 100);
  EXPECT_FALSE(old[0]->no_recorded_value);
  const Point* fresh = point(world.batch, "t.io", "direction=read process.executable.name=sh process.pid=101");
  ASSERT_TRUE(fresh);
  EXPECT_EQ(fresh->integer, 1);
  read(world, 5, 7);
  world.emit_due();
  EXPECT_EQ(points(world.batch, "t.io", "direction=read").back()->integer, 107);
}

TEST(Lifecycle, AClockStepMovesNoStartTime) {
  World world;
  world.add(5, World::container(50));
  read(world, 5, 1);
  world.emit_due();
  const uint64_t start = read_of(world.batch)->start_ns;
  const uint64_t sent = read_of(world.batch)->time_ns;
  for (const int64_t step : {3600, -7200, 86'400}) {
    world.step_clock(step * static_cast<int64_t>(kSecond));
    read(world, 5, 1);
    world.emit_due();
    check_structure(*world.batch);
    EXPECT_EQ(read_of(world.batch)->start_ns, start);
    EXPECT_GE(read_of(world.batch)->time_ns, sent) << "never back";
  }
  EXPECT_EQ(read_of(world.batch)->integer, 4);
  EXPECT_EQ(read_of(world.batch)->time_ns, world.now.real_ns);
}

TEST(Lifecycle, AReusedSlotBelongsToItsNewOwnerOnly) {
  World world;
  world.add(5, World::container(50, "old"));
  read(world, 5, 1);
  world.emit_due();
  world.remove(5);
  world.collect();  // this snapshot has been given: the slot may be used again
  world.emit();
  world.add(5, World::container(60, "new"));
  read(world, 5, 10);
  world.emit_due();
  const auto reads = points(world.batch, "t.io");
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(attribute(*resource_of(world.batch, reads[0]), "k8s.container.name"), "new");
  EXPECT_EQ(reads[0]->integer, 10);
}

TEST(Lifecycle, AReusedSlotSeenAtOnceEndsTheOldOne) {
  World world;
  world.add(5, World::container(50, "old"));
  read(world, 5, 1);
  world.emit_due();
  world.add(5, World::container(60, "new"));
  read(world, 5, 10);
  world.collect();
  int64_t fresh = 0;
  for (int i = 0; i < 3; ++i) {
    world.emit_due();
    for (const Point* each : values(points(world.batch, "t.io"))) {
      if (attribute(*resource_of(world.batch, each), "k8s.container.name") == "new") fresh = each->integer;
    }
  }
  EXPECT_EQ(fresh, 10);
  EXPECT_EQ(world.aggregator.stats().streams, 1u);
}

TEST(Lifecycle, AShorterPeriodHoldsAtOnce) {
  World world;
  world.add(5, World::container(50), World::decision(Level::Standard, 3'600'000));
  read(world, 5, 1);
  EXPECT_FALSE(read_of(world.emit_due()));
  world.decide(5, World::decision(Level::Standard, 1000));
  read(world, 5, 1);
  EXPECT_TRUE(read_of(world.emit_due(kSecond)));
  world.decide(5, World::decision(Level::Standard, 60'000));
  read(world, 5, 1);
  EXPECT_FALSE(read_of(world.emit_due(kSecond)));
  EXPECT_TRUE(read_of(world.emit_due(60 * kSecond)));
}

TEST(Lifecycle, ManyShortContainersLeaveNothingBehind) {
  World world;
  for (uint64_t i = 0; i < 1000; ++i) {
    const uint32_t slot = 2 + i % 20;
    world.remove(slot);
    world.add(slot, World::container(1000 + i, "c" + std::to_string(i)));
    read(world, slot, 1);
    world.end(slot);
    world.collect();
    world.emit();
    world.pass(kSecond);
  }
  for (uint32_t slot = 2; slot < 22; ++slot) world.remove(slot);
  for (int i = 0; i < 3; ++i) {
    world.collect();
    world.emit_due();
  }
  EXPECT_EQ(world.aggregator.stats().streams, 0u);
  EXPECT_EQ(world.aggregator.stats().series, 0u);
}

// Two policies take a process of a container each; another process of the second one takes nothing from the first.
TEST(Lifecycle, AnotherProcessLeavesWhatTheOthersAsk) {
  World world;
  Decision much = World::decision(Level::Detailed), little = World::decision(Level::Minimal);
  much.granularity = little.granularity = Granularity::Process;
  const Subject app = World::container(50);
  world.add(5, app, much);
  world.put(6, app, 101, "nginx");
  world.decide(6, much);
  world.put(7, app, 102, "java");
  world.decide(7, little);
  world.collect([&] { world.aggregator.counter(6, id(kTime), 1000); });
  world.emit_due();
  world.put(8, app, 103, "java");
  world.decide(8, little);
  world.collect([&] {
    world.aggregator.counter(6, id(kTime), 500);
    world.aggregator.counter(8, id(kRead), 7);
  });
  world.emit_due();
  const auto time = points(world.batch, "t.time", "process.executable.name=nginx process.pid=101");
  ASSERT_EQ(time.size(), 1U);
  EXPECT_FALSE(time[0]->no_recorded_value);
  EXPECT_DOUBLE_EQ(time[0]->real, 1500e-9);
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<std::size_t>(Discard::NotAsked)].samples, 0U);
}

// Between two collections of everything only what has ended is read: the others' last counts are still to come.
TEST(Lifecycle, WhoIsDeselectedIsReadOnceMoreThoughOthersEndedFirst) {
  World world;
  world.add(5, World::container(50));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 100); });
  world.emit_due();
  world.undecide(5);
  world.publish();
  world.begin();
  world.aggregator.end_collection(world.now, false);
  world.collect([&] { world.aggregator.counter(5, id(kRead), 7); });
  world.emit_due();
  EXPECT_EQ(values(points(world.batch, "t.io", "direction=read")).at(0)->integer, 107);
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<std::size_t>(Discard::NotSelected)].samples, 0U);
}

}  // namespace
}  // namespace sonde
