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
  world.end(5);
  world.pass(kSecond);
  read(world, 5, 2);
  const uint64_t ended = world.now.real_ns;
  ASSERT_TRUE(world.emit()) << "due or not: nobody wants to wait for the last numbers";
  EXPECT_EQ(read_of(world.batch)->integer, 3);
  EXPECT_FALSE(read_of(world.batch)->no_recorded_value);
  const uint64_t resource = resource_of(world.batch, read_of(world.batch))->id;

  world.pass(kSecond);
  world.collect();
  ASSERT_TRUE(world.emit());
  check_structure(*world.batch);
  EXPECT_TRUE(read_of(world.batch)->no_recorded_value);
  EXPECT_TRUE(point(world.batch, "t.kills")->no_recorded_value);
  EXPECT_EQ(resource_of(world.batch, read_of(world.batch))->id, resource);
  EXPECT_GT(read_of(world.batch)->time_ns, ended);
  EXPECT_LE(read_of(world.batch)->time_ns, world.now.real_ns);
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
  EXPECT_EQ(read_of(world.batch)->integer, 42);
  EXPECT_EQ(read_of(world.batch)->start_ns, world.now.real_ns - kSecond / 20);
  EXPECT_EQ(attribute(*resource_of(world.batch, read_of(world.batch)), "k8s.container.name"), "blink");
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

TEST(Lifecycle, ARestartedContainerContinuesFromZeroWithANewStart) {
  World world({.attached_ns = 900 * kSecond});
  world.add(5, World::container(50));
  read(world, 5, 100);
  world.collect([&] { world.aggregator.counter(5, id(kTime), 7); });
  world.emit_due();
  const auto before = resource_of(world.batch, read_of(world.batch));
  world.pass(kSecond);
  world.end(5);
  world.pass(kSecond);
  world.add(6, World::container(60, "app", world.now.boot_ns));
  const uint64_t restarted = world.now.real_ns;
  world.pass(kSecond);
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 10);
    world.aggregator.counter(6, id(kRead), 5);
  });
  // First the last values of the old one, from before the new one's start.
  ASSERT_TRUE(world.emit());
  check_structure(*world.batch);
  EXPECT_EQ(read_of(world.batch)->integer, 110);
  EXPECT_LE(read_of(world.batch)->time_ns, restarted);
  world.remove(5);
  world.pass(kSecond);
  read(world, 6, 1);
  ASSERT_TRUE(world.emit());
  check_structure(*world.batch);
  EXPECT_EQ(read_of(world.batch)->integer, 6);
  EXPECT_EQ(read_of(world.batch)->start_ns, restarted);
  EXPECT_EQ(resource_of(world.batch, read_of(world.batch))->id, before->id);
  const Point* time = point(world.batch, "t.time");
  ASSERT_TRUE(time) << "series of the old one go on from zero";
  EXPECT_EQ(time->real, 0);
  EXPECT_EQ(time->start_ns, restarted);
  for (const Point& each : world.batch->points) EXPECT_FALSE(each.no_recorded_value) << each.metric->name;
}

// A StatefulSet's pod made anew: another UID, so another Resource, but the same service.instance.id.
TEST(Lifecycle, APodOfTheSameNameFollowsTheOneBefore) {
  World world({.attached_ns = 900 * kSecond});
  world.add(5, World::container(50));
  read(world, 5, 100);
  world.emit_due();
  const auto before = resource_of(world.batch, read_of(world.batch));
  world.pass(kSecond);
  world.end(5);
  world.pass(kSecond);
  Subject anew = World::container(60, "app", world.now.boot_ns);
  anew.pod_uid = "00000000-0000-0000-0000-000000000099";
  world.add(6, anew);
  world.pass(kSecond);
  read(world, 6, 5);
  ASSERT_TRUE(world.emit());
  check_structure(*world.batch);
  for (const Point* each : points(world.batch, "t.io")) {
    EXPECT_EQ(resource_of(world.batch, each)->id, before->id) << "first the old one ends";
  }
  world.remove(5);
  world.pass(kSecond);
  read(world, 6, 1);
  ASSERT_TRUE(world.emit());
  check_structure(*world.batch);
  EXPECT_TRUE(read_of(world.batch)->no_recorded_value) << "with an end mark, before the new one is sent";
  EXPECT_EQ(resource_of(world.batch, read_of(world.batch))->id, before->id);
  world.pass(kSecond);
  read(world, 6, 2);
  ASSERT_TRUE(world.emit());
  check_structure(*world.batch);
  const Point* now = read_of(world.batch);
  ASSERT_TRUE(now);
  EXPECT_EQ(now->integer, 8) << "and nothing of it is lost";
  EXPECT_NE(resource_of(world.batch, now)->id, before->id);
  EXPECT_EQ(attribute(*resource_of(world.batch, now), "k8s.pod.uid"), anew.pod_uid);
}

TEST(Lifecycle, ASuccessorThatComesAfterTheLastFlushStillContinues) {
  World world;
  world.add(5, World::container(50));
  read(world, 5, 100);
  world.end(5);
  world.collect();
  world.emit();
  world.remove(5);
  world.add(6, World::container(60));
  world.collect();
  const BatchPtr at_once = world.emit();
  EXPECT_TRUE(points(at_once, "t.io").empty());
  world.collect();
  world.emit_due();
  ASSERT_TRUE(read_of(world.batch));
  EXPECT_EQ(read_of(world.batch)->integer, 0);
  EXPECT_FALSE(read_of(world.batch)->no_recorded_value);
}

TEST(Lifecycle, TheLastFlushSendsSuccessorsToo) {
  World world;
  world.add(5, World::container(50));
  read(world, 5, 100);
  world.emit_due();
  world.end(5);
  world.add(6, World::container(60));
  read(world, 6, 7);
  const BatchPtr last = world.aggregator.emit_all(world.now);
  const auto reads = points(last, "t.io");
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(reads[0]->integer, 100);
  EXPECT_EQ(reads[1]->integer, 7);
  EXPECT_LT(reads[0]->time_ns, reads[1]->time_ns + 1);
}

TEST(Lifecycle, AChangedLabelEndsTheStreamAndBeginsAnother) {
  World world;
  Decision decision = World::decision();
  decision.pod_labels = {"team"};
  Subject subject = World::container(50);
  subject.pod_labels["team"] = "red";
  world.add(5, subject, decision);
  read(world, 5, 100);
  world.emit_due();
  const auto red = resource_of(world.batch, read_of(world.batch));
  EXPECT_EQ(attribute(*red, "k8s.pod.label.team"), "red");

  subject.pod_labels["other"] = "x";  // not on the Resource: nothing happens
  world.add(5, subject, decision);
  world.pass(kSecond);
  read(world, 5, 1);
  EXPECT_FALSE(world.emit());

  subject.pod_labels["team"] = "blue";
  world.add(5, subject, decision);
  world.pass(kSecond);
  world.publish();
  world.begin();
  const uint64_t changed = world.now.real_ns;
  world.aggregator.counter(5, id(kRead), 7);
  world.finish();
  ASSERT_TRUE(world.emit());
  EXPECT_EQ(read_of(world.batch)->integer, 101) << "the last value under the old label";
  EXPECT_EQ(resource_of(world.batch, read_of(world.batch)), red);

  world.collect();
  world.emit_due();
  check_structure(*world.batch);
  const auto reads = points(world.batch, "t.io");
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_TRUE(reads[0]->no_recorded_value);
  EXPECT_EQ(resource_of(world.batch, reads[0]), red);

  world.collect();
  world.emit_due();
  ASSERT_TRUE(read_of(world.batch));
  EXPECT_EQ(read_of(world.batch)->integer, 7);
  EXPECT_EQ(read_of(world.batch)->start_ns, changed + 1'000'000) << "after the end marks of the old one";
  EXPECT_NE(resource_of(world.batch, read_of(world.batch))->id, red->id);
}

TEST(Lifecycle, ADeselectedContainerGetsItsLastCountsAndMarks) {
  World world;
  world.add(5, World::container(50));
  read(world, 5, 100);
  world.emit_due();
  world.undecide(5);
  read(world, 5, 10);  // from before the policy changed
  world.emit();
  EXPECT_EQ(read_of(world.batch)->integer, 110);
  read(world, 5, 1);
  world.emit();
  EXPECT_TRUE(read_of(world.batch)->no_recorded_value);
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

  // Raised again: from zero, with the start of that moment.
  world.pass(kSecond);
  world.decide(5, World::decision(Level::Standard));
  const uint64_t raised = world.now.real_ns;
  world.collect(both);
  world.emit_due();
  EXPECT_DOUBLE_EQ(point(world.batch, "t.time")->real, 1);
  EXPECT_EQ(point(world.batch, "t.time")->start_ns, raised);
  EXPECT_LT(read_of(world.batch)->start_ns, raised);
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

TEST(Lifecycle, AnotherGranularityEndsTheOldSeriesFirst) {
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
  world.emit();
  EXPECT_EQ(read_of(world.batch)->integer, 100);
  uint64_t marks = 0;
  for (int i = 0; i < 2; ++i) {
    world.collect();
    world.emit_due();
    check_structure(*world.batch);
    for (const Point* each : points(world.batch, "t.io")) marks += each->no_recorded_value;
  }
  EXPECT_EQ(marks, 1u);
  EXPECT_EQ(point(world.batch, "t.io", "direction=read process.executable.name=sh process.pid=101")->integer, 1);
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
  for (const Point* each : points(world.batch, "t.io")) {
    const bool is_new = attribute(*resource_of(world.batch, each), "k8s.container.name") == "new";
    EXPECT_EQ(each->no_recorded_value, !is_new);
    if (is_new) {
      EXPECT_EQ(each->integer, 10);
    }
  }
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
    for (const Point* each : points(world.batch, "t.io")) {
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

}  // namespace
}  // namespace sonde
