// SPDX-License-Identifier: Apache-2.0
// One identity, one Resource: what a receiver that knows values only makes of pods made anew, labels that are edited and
// Jobs that last a moment. The lives of one container are in lives_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/unit/pipeline/last_values.h"

namespace sonde {
namespace {

using namespace sonde::testing;

TEST(Streams, TwentyJobsThatLastAMomentAreAllSeen) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  for (uint64_t job = 0; job < 20; ++job) {
    Subject subject = World::container(50 + job, "job", world.now.boot_ns);
    subject.pod_name = "backup-" + std::to_string(job);
    subject.pod_uid = "uid-" + std::to_string(job);
    cluster.over.insert(subject.pod_uid);
    live(world, 5, subject, kRead, 100, kSecond / 2);
    if (job % 3 == 0) reader.take(world.emit_due());
  }
  reader.take(world.emit_due());
  EXPECT_EQ(reader.increase("t.io"), 2000u);
  EXPECT_EQ(reader.instances("t.io").size(), 20u);
  EXPECT_EQ(reader.shown("backup"), 0u);
  EXPECT_EQ(world.aggregator.stats().streams, 0u);
}

TEST(Streams, ADeselectedContainerIsNotWaitedFor) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  world.add(5, World::container(50));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 3); });
  reader.take(world.emit_due());
  world.undecide(5);
  world.collect();
  reader.take(world.emit_due());
  EXPECT_EQ(reader.shown("app"), 0u);
}

// A pod of a StatefulSet that is made anew: the name stays, all else is another's.
TEST(Streams, AnotherUidIsAnotherStreamFromZero) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  world.add(5, World::container(50));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 100); });
  reader.take(world.emit_due());
  const auto before = resource_of(world.batch, point(world.batch, "t.io", "direction=read"));
  const uint64_t last = world.now.real_ns;
  cluster.over.insert("uid1");
  world.end(5);
  world.pass(kSecond);
  Subject anew = World::container(60, "app", world.now.boot_ns);
  anew.pod_uid = "uid2";
  const uint64_t born = world.now.real_ns;
  world.add(6, anew);
  world.pass(kSecond);
  world.collect([&] { world.aggregator.counter(6, id(kRead), 5); });
  reader.take(world.emit_due());
  std::size_t old_marks = 0;
  for (const Point* each : points(world.batch, "t.io")) {
    const ResourcePtr resource = resource_of(world.batch, each);
    if (resource->id == before->id) {
      old_marks += each->no_recorded_value;
      continue;
    }
    EXPECT_EQ(each->integer, 5);
    EXPECT_EQ(each->start_ns, born);
    EXPECT_EQ(attribute(*resource, "k8s.pod.uid"), "uid2");
    EXPECT_NE(attribute(*resource, "service.instance.id"), attribute(*before, "service.instance.id"));
  }
  EXPECT_EQ(old_marks, 1u) << "at once";
  EXPECT_GT(world.now.real_ns, last);
  EXPECT_EQ(beginning(world.batch, "t.io", "direction=read")->time_ns, born + 1'000'000);
  EXPECT_EQ(reader.increase("t.io"), 105u);
}

class Labelled {
 public:
  explicit Labelled(World& world) : world_(world) { decision_.pod_labels = {"team"}; }
  void show(const std::string& team, uint64_t bytes) {
    subject_.pod_labels["team"] = team;
    world_.add(5, subject_, decision_);
    world_.collect([&] { world_.aggregator.counter(5, id(kRead), bytes); });
    reader.take(world_.emit_due());
  }
  LastValues reader;

 private:
  World& world_;
  Decision decision_ = World::decision();
  Subject subject_ = World::container(50);
};

TEST(Streams, ALabelThatGoesBackContinues) {
  Cluster cluster;
  World world(cluster.options());
  Labelled pod(world);
  pod.show("red", 100);
  const auto red = resource_of(world.batch, point(world.batch, "t.io", "direction=read"));
  pod.show("blue", 7);
  const auto both = points(world.batch, "t.io", "direction=read");
  ASSERT_EQ(both.size(), 3u);
  EXPECT_EQ(both[0]->integer, 100);
  EXPECT_TRUE(both[1]->no_recorded_value);
  EXPECT_EQ(both[1]->time_ns, both[0]->time_ns + 1'000'000);
  EXPECT_EQ(both[2]->integer, 7) << "from zero";
  EXPECT_EQ(attribute(*resource_of(world.batch, both[2]), "k8s.pod.label.team"), "blue");
  const uint64_t start_ns = both[0]->start_ns;
  pod.show("blue", 3);
  pod.show("red", 20);
  const Point* again = beginning(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->integer, 100);
  const auto back = values(points(world.batch, "t.io", "direction=read"));
  ASSERT_EQ(back.size(), 2u);
  const Point* now = back[0]->integer == 10 ? back[1] : back[0];
  EXPECT_EQ(now->integer, 120);
  EXPECT_EQ(resource_of(world.batch, now)->id, red->id);
  EXPECT_EQ(now->start_ns, start_ns);
  EXPECT_EQ(pod.reader.increase("t.io"), 130u);
  EXPECT_EQ(pod.reader.instances("t.io").size(), 2u);
  // The pod ends: nothing of either is left.
  cluster.over.insert("uid1");
  world.end(5);
  world.collect();
  pod.reader.take(world.emit());
  EXPECT_EQ(pod.reader.shown("shop"), 0u);
  world.remove(5);
  world.collect();
  world.emit_due();
  EXPECT_EQ(world.aggregator.stats().streams, 0u);
  EXPECT_EQ(world.aggregator.stats().series, 0u);
}

TEST(Streams, LabelsThatChangeWithoutEndStayAsTheyAre) {
  Cluster cluster;
  World world(cluster.options());
  Labelled pod(world);
  for (int i = 0; i < 40; ++i) pod.show("t" + std::to_string(i), 1);
  EXPECT_EQ(pod.reader.instances("t.io").size(), 16u);
  EXPECT_EQ(pod.reader.increase("t.io"), 40u) << "nothing is lost";
  EXPECT_EQ(world.aggregator.stats().labels_held, 24u);
  ASSERT_EQ(world.aggregator.stats().labels_held_by.size(), 1u);
  EXPECT_EQ(world.aggregator.stats().labels_held_by[0], "shop/web/uid1/app");
  pod.show("t3", 5);
  EXPECT_EQ(pod.reader.increase("t.io"), 45u);
  const Point* again = beginning(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(again) << "what it was called before it may be called again";
  EXPECT_EQ(attribute(*resource_of(world.batch, again), "k8s.pod.label.team"), "t3");
}

TEST(Streams, ASeriesThatAppearsBeginsWithZeroAtTheLastExport) {
  World world;
  LastValues reader;
  world.add(5, World::container(50));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
  reader.take(world.emit_due());
  const uint64_t start = point(world.batch, "t.io", "direction=read")->start_ns;
  for (int i = 0; i < 500; ++i) {
    world.collect();
    reader.take(world.emit_due());
  }
  const uint64_t last = world.now.real_ns;
  world.pass(kSecond);
  world.collect([&] {
    world.aggregator.counter(5, id(kErrors, 28 + 1), 1);  // the first ENOSPC after hours
    world.aggregator.histogram(5, id(kWait), histogram_of(3, 7000, {{40, 3}}));
  });
  reader.take(world.emit_due());
  const Point* zero = beginning(world.batch, "t.errors", "error.type=E28 operation=read");
  ASSERT_TRUE(zero);
  EXPECT_EQ(zero->integer, 0);
  EXPECT_EQ(zero->time_ns, last);
  EXPECT_EQ(beginning(world.batch, "t.wait")->count, 0u);
  EXPECT_EQ(beginning(world.batch, "t.wait")->bucket_length, 0u);
  EXPECT_EQ(reader.increase("t.errors"), 1u);
  EXPECT_EQ(reader.increase("t.wait"), 3u);
  for (const Point& each : world.batch->points) EXPECT_EQ(each.start_ns, start) << each.metric->name;
  EXPECT_FALSE(beginning(world.batch, "t.io", "direction=read")) << "only once";
}

TEST(Streams, ABeginningIsNeverOlderThanTwoIntervals) {
  World world;
  world.add(5, World::container(50));
  world.collect();
  for (int i = 0; i < 3; ++i) world.pass(3600 * kSecond);
  world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
  world.emit();
  const Point* zero = beginning(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(zero);
  EXPECT_EQ(zero->time_ns, world.now.real_ns - 20 * kSecond);
}

TEST(Streams, ALateNameThatIsTakenAlreadyJoinsIt) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  Subject unnamed = World::container(50, "", world.now.boot_ns);
  unnamed.pod_name.clear();
  world.add(5, unnamed);
  world.collect([&] { world.aggregator.counter(5, id(kRead), 10); });
  world.end(5);
  world.add(6, World::container(60, "app", world.now.boot_ns));
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 1);
    world.aggregator.counter(6, id(kRead), 200);
  });
  world.put(5, World::container(50, "app", world.now.boot_ns));  // told late
  world.end(5);
  world.collect();
  reader.take(world.emit_due());
  EXPECT_EQ(reader.increase("t.io"), 211u);
  EXPECT_EQ(reader.instances("t.io").size(), 1u);
}

TEST(Streams, AWorkloadIsOneStreamOnItsNode) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  Decision decision = World::decision();
  decision.granularity = Granularity::Workload;
  for (uint64_t job = 0; job < 12; ++job) {
    Subject subject = World::container(50 + job, "dump", world.now.boot_ns);
    subject.pod_name = "backup-" + std::to_string(job);
    subject.pod_uid = "uid-" + std::to_string(job);
    subject.pod_labels["job"] = subject.pod_name;
    subject.owners = {{"Job", "backup-" + std::to_string(28'000'000 + job)}, {"CronJob", "backup"}};
    world.add(5, subject, decision);
    world.collect([&] { world.aggregator.counter(5, id(kRead), 10); });
    world.end(5);
    world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
    world.remove(5);
    world.collect();
    reader.take(world.emit_due());
    world.pass(60 * kSecond);
  }
  ASSERT_EQ(reader.instances("t.io"), std::set<std::string>{"shop.CronJob.backup.dump@node1"});
  EXPECT_EQ(reader.increase("t.io"), 132u);
  const auto resource = resource_of(world.batch, point(world.batch, "t.io", "direction=read"));
  EXPECT_EQ(attribute(*resource, "k8s.cronjob.name"), "backup");
  EXPECT_EQ(attribute(*resource, "k8s.pod.name"), "(none)");
  EXPECT_EQ(attribute(*resource, "k8s.pod.uid"), "(none)");
  EXPECT_EQ(attribute(*resource, "k8s.job.name"), "(none)");
  // Nobody has come for a quarter of an hour.
  for (int i = 0; i < 100; ++i) {
    world.collect();
    reader.take(world.emit_due());
  }
  EXPECT_EQ(reader.shown("backup"), 0u);
}

TEST(Streams, WithoutAnOwnerAWorkloadIsItsContainer) {
  World world;
  Decision decision = World::decision();
  decision.granularity = Granularity::Workload;
  world.add(5, World::container(50), decision);
  world.collect([&] { world.aggregator.counter(5, id(kRead), 10); });
  world.emit_due();
  const auto resource = resource_of(world.batch, point(world.batch, "t.io", "direction=read"));
  EXPECT_TRUE(attribute(*resource, "service.instance.id").starts_with("shop.web.app."));
}

// Both agents counted for a while, and what was before the turn the other one has exported.
TEST(Streams, NothingStartsBeforeTheEarlierAgentHasEnded) {
  AggregatorOptions options;
  options.attached_ns = 900 * kSecond;
  options.not_before_ns = 990 * kSecond;
  World world(options);
  const uint64_t turn = world.now.real_of(options.not_before_ns);
  world.add(5, World::container(50, "old", 100 * kSecond));
  world.add(6, World::container(60, "began-while-both-counted", 950 * kSecond));
  world.add(7, World::container(70, "began-later", 995 * kSecond));
  world.collect([&] {
    for (const uint32_t slot : {0, 5, 6, 7}) world.aggregator.counter(slot, id(kRead), 3);
    world.aggregator.counter(SONDE_SLOT_NODE, id(kNode), 1);
  });
  world.emit_due();
  check_structure(*world.batch);
  ASSERT_GE(world.batch->resources.size(), 4U);
  for (const Point& each : world.batch->points) {
    EXPECT_GE(each.start_ns, turn) << each.metric->name;
    EXPECT_GT(each.time_ns, turn) << each.metric->name;
  }
  const auto later = values(points(world.batch, "t.io", "direction=read"));
  EXPECT_TRUE(std::ranges::any_of(later, [&](const Point* p) { return p->start_ns == turn + 5 * kSecond; }));
}

}  // namespace
}  // namespace sonde
