// SPDX-License-Identifier: Apache-2.0
// One identity, one Resource: what a receiver that knows values only makes of containers that start again, pods made anew,
// labels that are edited and Jobs that last a moment.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

// increase() over everything, as Prometheus works it out, without its extrapolation: what points of one instance and
// one set of labels rise by; a fall is a reset; the first point is where it began.
class LastValues {
 public:
  void take(const BatchPtr& batch) {
    if (!batch) return;
    check_structure(*batch);
    for (const ResourcePoints& part : batch->resources) {
      const std::string instance = attribute(*part.resource, "service.instance.id");
      const std::string all = text(part.resource->attributes);
      EXPECT_EQ(resources_.try_emplace(instance, all).first->second, all) << "one id stands for one Resource, for ever";
      for (std::size_t i = part.begin; i < part.begin + part.length; ++i) take(instance, batch->points[i]);
    }
  }
  uint64_t increase(const std::string& metric) const {
    uint64_t sum = 0;
    for (const auto& [key, series] : series_) sum += key.second.starts_with(metric + "{") ? series.increase : 0;
    return sum;
  }
  // Series that are still shown, of instances whose id has this in it.
  std::size_t shown(const std::string& instance) const {
    std::size_t count = 0;
    for (const auto& [key, series] : series_) count += !series.ended && key.first.find(instance) != std::string::npos;
    return count;
  }
  std::set<std::string> instances(const std::string& metric) const {
    std::set<std::string> found;
    for (const auto& [key, series] : series_) {
      if (key.second.starts_with(metric + "{")) found.insert(key.first);
    }
    return found;
  }

 private:
  struct Series {
    uint64_t time = 0, start = 0, value = 0, increase = 0;
    bool ended = false;
  };
  void take(const std::string& instance, const Point& point) {
    const std::string name = std::string(point.metric->name) + "{" + text(*point.attributes) + "}";
    auto [entry, fresh] = series_.try_emplace({instance, name});
    Series& series = entry->second;
    EXPECT_GT(point.time_ns, series.time) << name << ": Prometheus refuses the whole request";
    EXPECT_GT(point.time_ns, point.start_ns) << name;
    if (!fresh && point.start_ns != series.start) {
      EXPECT_GT(point.start_ns, series.time) << name << " starts at or before its last point";
    }
    const bool same_life = !fresh && point.start_ns == series.start;
    series.time = point.time_ns;
    series.start = point.start_ns;
    series.ended = point.no_recorded_value;
    if (point.no_recorded_value) return;
    const uint64_t value = point.metric->instrument == Instrument::Histogram ? point.count
                           : point.metric->integer                           ? static_cast<uint64_t>(point.integer)
                                                                             : static_cast<uint64_t>(point.real);
    const bool falls =
        point.metric->instrument == Instrument::Counter || point.metric->instrument == Instrument::Histogram;
    if (same_life && falls) {
      EXPECT_GE(value, series.value) << name << " fell while its start stayed";
    }
    if (!fresh) series.increase += value >= series.value ? value - series.value : value;
    series.value = value;
  }
  std::map<std::pair<std::string, std::string>, Series> series_;
  std::map<std::string, std::string> resources_;
};

// A pod of which the kubelet says what may be started again.
struct Cluster {
  std::set<std::string> over;  // container names that are not started again
  AggregatorOptions options() {
    AggregatorOptions options;
    options.attached_ns = 900 * kSecond;
    options.may_return = [this](const Subject& subject, StreamScope) {
      return !over.contains(subject.container_name) && !over.contains(subject.pod_uid);
    };
    return options;
  }
};

// One life of the container in this slot: it counts, ends, and its slot is given back.
void live(World& world, uint32_t slot, Subject subject, uint16_t series, uint64_t amount, uint64_t ns) {
  world.add(slot, std::move(subject));
  world.collect();
  world.pass(ns);
  world.end(slot);
  world.collect([&] { world.aggregator.counter(slot, id(series), amount); });
  world.remove(slot);
  world.collect();
}

TEST(Streams, FiveEqualLivesOfACrashingContainerAreAllSeen) {
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

TEST(Streams, FourOomKillsAreFour) {
  Cluster cluster;
  World world(cluster.options());
  LastValues reader;
  for (uint64_t life = 0; life < 4; ++life) {
    live(world, 5, World::container(50 + life, "app", world.now.boot_ns), kKills, 1, kSecond);
    reader.take(world.emit_due());
  }
  EXPECT_EQ(reader.increase("t.kills"), 4u);
}

TEST(Streams, SevenLivesWithinAnIntervalAreOneTotal) {
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

TEST(Streams, WhatIsNotStartedAgainEnds) {
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

TEST(Streams, UpDownCountersAreZeroBetweenLives) {
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
