// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/aggregator.h"

#include <gtest/gtest.h>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

TEST(Aggregator, AddsDeltasUpAndSendsTotals) {
  World world;
  world.add(5, World::container(50));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 100); });
  world.collect([&] { world.aggregator.counter(5, id(kRead), 11); });
  const uint64_t began = world.now.real_ns;
  world.emit_due();
  ASSERT_TRUE(world.batch);
  check_structure(*world.batch);
  const Point* read = point(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->integer, 111);
  EXPECT_EQ(read->start_ns, began);
  EXPECT_EQ(read->time_ns, world.now.real_ns);
  EXPECT_EQ(attribute(*resource_of(world.batch, read), "k8s.pod.name"), "web");
  // It has not moved, so it is not sent.
  EXPECT_FALSE(point(world.batch, "t.io", "direction=write"));
  world.collect([&] { world.aggregator.counter(5, id(kRead), 9); });
  EXPECT_EQ(point(world.emit_due(), "t.io", "direction=read")->integer, 120);
}

TEST(Aggregator, SendsOnlyWhatIsDue) {
  World world;
  world.add(5, World::container(50, "fast"), World::decision(Level::Standard, 10'000));
  world.add(6, World::container(60, "slow"), World::decision(Level::Standard, 30'000));
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 1);
    world.aggregator.counter(6, id(kRead), 1);
  });
  world.now = {1010 * kSecond - 1, world.now.real_ns + 10 * kSecond - 1};
  EXPECT_FALSE(world.emit());
  EXPECT_EQ(world.aggregator.next_due(world.now.boot_ns), 1010 * kSecond);
  world.pass(1);
  EXPECT_EQ(points(world.emit(), "t.io").size(), 1u);
  EXPECT_FALSE(world.emit()) << "sent already";
  world.pass(10 * kSecond);  // 1020 is a multiple of both
  EXPECT_EQ(points(world.emit(), "t.io").size(), 2u);
  EXPECT_EQ(points(world.aggregator.emit_all(world.now), "t.io").size(), 2u);
}

TEST(Aggregator, HistogramsKeepCountSumAndBuckets) {
  World world;
  world.add(5, World::container(50));
  world.collect([&] {
    world.aggregator.histogram(5, id(kWait), histogram_of(3, 7000, {{40, 1}, {42, 2}}));
    world.aggregator.histogram(5, id(kWait), histogram_of(2, 500, {{38, 1}, {42, 1}}));
  });
  world.emit_due();
  const Point* wait = point(world.batch, "t.wait");
  ASSERT_TRUE(wait);
  EXPECT_EQ(wait->count, 5u);
  EXPECT_DOUBLE_EQ(wait->real, 7500e-9);
  EXPECT_EQ(wait->bucket_offset, 38 - 121);
  const auto* begin = world.batch->buckets.data() + wait->bucket_begin;
  EXPECT_EQ(std::vector<uint64_t>(begin, begin + wait->bucket_length), (std::vector<uint64_t>{1, 0, 1, 0, 3}));
}

TEST(Aggregator, ScalesWhatIsNotWhole) {
  World world;
  world.add(5, World::container(50));
  world.collect([&] { world.aggregator.counter(5, id(kTime), 1'500'000'000); });
  EXPECT_DOUBLE_EQ(point(world.emit_due(), "t.time")->real, 1.5);
}

TEST(Aggregator, SendsFromZeroOnWhatIsDeclaredSo) {
  World world;
  world.add(5, World::container(50));
  world.collect();
  const Point* kills = point(world.emit_due(), "t.kills");
  ASSERT_TRUE(kills);
  EXPECT_EQ(kills->integer, 0);
  EXPECT_FALSE(kills->no_recorded_value);
}

TEST(Aggregator, FinerSeriesTakeThePlaceOfTheirSum) {
  World world;
  world.add(5, World::container(50, "a"), World::decision(Level::Detailed));
  world.add(6, World::container(60, "b"), World::decision(Level::Standard));
  world.collect([&] {
    world.aggregator.histogram(5, id(kWaitWakeup), histogram_of(2, 10, {{5, 2}}));
    world.aggregator.histogram(5, id(kWait), histogram_of(2, 10, {{5, 2}}));
    // Counted before its policy was known, as finely as any policy asks.
    world.aggregator.histogram(6, id(kWaitWakeup), histogram_of(4, 20, {{6, 4}}));
    world.aggregator.histogram(6, id(kWaitPreempt), histogram_of(3, 30, {{7, 3}}));
  });
  world.emit_due();
  EXPECT_EQ(point(world.batch, "t.wait", "cause=wakeup")->count, 2u);
  const auto sums = points(world.batch, "t.wait", "");
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(sums[0]->count, 7u);
  EXPECT_EQ(attribute(*resource_of(world.batch, sums[0]), "k8s.container.name"), "b");
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<int>(Discard::NotAsked)].value, 2u);
}

TEST(Aggregator, MetricsAskedByNameComeAtTheirOwnLevel) {
  World world;
  Decision decision = World::decision(Level::Minimal);
  world.add(5, World::container(50, "a"), decision);
  decision.probes[0].metrics |= uint64_t{1} << 7;
  world.add(6, World::container(60, "b"), decision);
  world.collect([&] {
    world.aggregator.counter(5, id(kRare), 1);
    world.aggregator.counter(6, id(kRare), 2);
    world.aggregator.counter(6, id(kTime), 2);  // Standard: not asked
  });
  world.emit_due();
  EXPECT_EQ(point(world.batch, "t.rare")->integer, 2);
  EXPECT_FALSE(point(world.batch, "t.time"));
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<int>(Discard::NotAsked)].samples, 2u);
}

TEST(Aggregator, CellsAreNamedByTheirModule) {
  World world;
  world.add(5, World::container(50));
  world.collect([&] {
    world.aggregator.counter(5, id(kErrors, 2 + 1), 7);
    world.aggregator.counter(5, id(kErrors, 5 + 1), 1);
    world.aggregator.counter(5, id(kErrors, 0), 3);
    world.aggregator.counter(5, id(kErrors, 70'000), 1);  // the module knows no name for it
  });
  world.collect([&] { world.aggregator.counter(5, id(kErrors, 2 + 1), 1); });
  world.emit_due();
  check_structure(*world.batch);
  EXPECT_EQ(point(world.batch, "t.errors", "error.type=E2 operation=read")->integer, 8);
  EXPECT_EQ(point(world.batch, "t.errors", "error.type=E5 operation=read")->integer, 1);
  EXPECT_EQ(point(world.batch, "t.errors", "error.type=_OTHER operation=read")->integer, 4);
}

TEST(Aggregator, AKeyedHistogramTakesThePlaceOfThePlainOne) {
  const std::vector<BucketDelta> buckets{{7, 2}};
  World world;
  world.add(5, World::container(50), World::decision(Level::Detailed));
  world.add(6, World::container(60, "other"), World::decision(Level::Standard));
  world.collect([&] {
    for (const uint32_t slot : {5U, 6U}) {
      world.aggregator.histogram(slot, id(kDisk), histogram_of(2, 20, buckets));
      world.aggregator.histogram(slot, id(kDiskKeyed, 8 + 1), histogram_of(2, 20, buckets));
      world.aggregator.histogram(slot, id(kDiskKeyed, 0), histogram_of(2, 30, buckets));
    }
  });
  world.collect([&] { world.aggregator.histogram(5, id(kDiskKeyed, 8 + 1), histogram_of(2, 1, buckets)); });
  world.emit_due();
  check_structure(*world.batch);
  EXPECT_EQ(points(world.batch, "t.disk").size(), 3U);
  EXPECT_EQ(point(world.batch, "t.disk",
                  "device=disk\xEF\xBF\xBD"
                  "8")
                ->count,
            4U);
  EXPECT_EQ(point(world.batch, "t.disk", "device=other")->count, 2U);
  EXPECT_EQ(point(world.batch, "t.disk", "")->count, 2U);  // of the other container, whose policy asks no more
  EXPECT_EQ(attribute(*resource_of(world.batch, point(world.batch, "t.disk", "")), "k8s.container.name"), "other");
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<std::size_t>(Discard::NotAsked)].value, 2U + 2U + 2U);
}

TEST(Aggregator, FlagsAskForTheKeyedHistogramOrThePlainOne) {
  const ModuleInfo& info = test_modules().front().module->info();
  EXPECT_EQ(flags_of(World::decision(Level::Standard).probes[0], info), 1);
  EXPECT_EQ(flags_of(World::decision(Level::Detailed).probes[0], info), 2);
}

TEST(Aggregator, GaugesOfOneSubjectAddUpWithinACollection) {
  World world;
  world.add(5, World::container(50), World::decision(Level::Detailed));
  world.add(6, World::container(50), World::decision(Level::Detailed));  // a cgroup inside it
  world.collect([&] {
    world.aggregator.gauge(5, id(kOpen), 4);
    world.aggregator.gauge(6, id(kOpen), 3);
  });
  world.collect([&] {
    world.aggregator.gauge(5, id(kOpen), 5);
    world.aggregator.gauge(6, id(kOpen), -1);
  });
  EXPECT_EQ(point(world.emit_due(), "t.open")->integer, 4);
}

TEST(Aggregator, NodeMetricsAndTheUnattributedAreOnTheNode) {
  World world;
  world.add(5, World::container(50));
  world.decide(SONDE_SLOT_NODE, World::decision());
  world.collect([&] {
    world.aggregator.counter(SONDE_SLOT_NODE, id(kNode), 4);
    world.aggregator.counter(SONDE_SLOT_NODE, id(kRead), 1000);  // no metric of the node
    world.aggregator.counter(5, id(kNode), 100);                 // no metric of a container
    world.aggregator.counter(0, id(kRead), 10);
  });
  world.emit_due();
  check_structure(*world.batch);
  const Point* node = point(world.batch, "t.node");
  const Point* lost = point(world.batch, "t.io", "direction=read sonde.subject=unattributed");
  ASSERT_TRUE(node && lost);
  EXPECT_EQ(node->integer, 4);
  EXPECT_EQ(lost->integer, 10);
  EXPECT_EQ(resource_of(world.batch, node), resource_of(world.batch, lost));
  EXPECT_EQ(attribute(*resource_of(world.batch, node), "service.name"), "sonde-agent");
}

TEST(Aggregator, NodeMetricsEndWhenNobodyAsksForThemAndComeBack) {
  World world;
  const auto count = [&](uint64_t n) {
    world.collect([&] { world.aggregator.counter(SONDE_SLOT_NODE, id(kNode), n); });
  };
  count(100);  // before anybody asks
  EXPECT_FALSE(point(world.emit_due(), "t.node"));
  world.decide(SONDE_SLOT_NODE, World::decision());
  count(3);
  EXPECT_EQ(point(world.emit_due(), "t.node")->integer, 3);
  world.undecide(SONDE_SLOT_NODE);
  count(50);
  EXPECT_EQ(point(world.emit_due(), "t.node")->integer, 3);  // its last value
  world.collect();
  const Point* mark = point(world.emit_due(), "t.node");
  ASSERT_TRUE(mark);
  EXPECT_TRUE(mark->no_recorded_value);
  world.collect();
  EXPECT_FALSE(point(world.emit_due(), "t.node"));
  world.decide(SONDE_SLOT_NODE, World::decision());
  count(7);
  world.emit_due();
  ASSERT_TRUE(beginning(world.batch, "t.node"));
  EXPECT_EQ(beginning(world.batch, "t.node")->integer, 3);
  EXPECT_EQ(point(world.batch, "t.node")->integer, 10);
}

TEST(Aggregator, WhatIsNotSelectedAppearsNowhere) {
  World world;
  world.put(5, World::container(50));
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 100);
    world.aggregator.counter(1, id(kRead), 1);
  });
  EXPECT_FALSE(world.emit_due());
  const Tally discarded = world.aggregator.stats().discards[static_cast<int>(Discard::NotSelected)];
  EXPECT_EQ(discarded.samples, 2u);
  EXPECT_EQ(discarded.value, 101u);
}

TEST(Aggregator, WaitsForTheNameOfANewSlot) {
  World world({.attached_ns = 900 * kSecond});
  world.add(5, World::container(50));
  world.collect([&] {
    world.aggregator.counter(7, id(kRead), 5);
    world.aggregator.histogram(7, id(kWait), histogram_of(1, 9, {{3, 1}}));
    world.aggregator.counter(8, id(kRead), 6);
  });
  EXPECT_EQ(world.aggregator.stats().pending_slots, 2u);
  world.pass(kSecond);
  world.add(7, World::container(70, "late", 999 * kSecond));
  world.put(8, World::container(80, "other"));  // nobody selects it
  world.collect([&] { world.aggregator.counter(7, id(kRead), 1); });
  world.emit_due();
  const Point* read = point(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->integer, 6);
  EXPECT_EQ(read->start_ns, world.now.real_ns - (world.now.boot_ns - 999 * kSecond)) << "counted since it began";
  EXPECT_EQ(point(world.batch, "t.wait")->count, 1u);
  EXPECT_EQ(world.aggregator.stats().pending_slots, 0u);
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<int>(Discard::NotSelected)].value, 6u);
}

TEST(Aggregator, WhatNobodyNamesIsUnattributed) {
  World world({.pending_collections = 2});
  world.collect([&] { world.aggregator.counter(9, id(kRead), 5); });
  world.collect([&] { world.aggregator.counter(9, id(kRead), 6); });
  world.collect([&] { world.aggregator.counter(9, id(kRead), 1); });
  world.emit_due();
  EXPECT_EQ(point(world.batch, "t.io", "direction=read sonde.subject=unattributed")->integer, 11);
  EXPECT_EQ(world.aggregator.stats().detours[static_cast<int>(Detour::UnknownSlot)].value, 11u);
  EXPECT_EQ(world.aggregator.stats().detours[static_cast<int>(Detour::UnknownSlot)].samples, 2u);
  EXPECT_EQ(world.aggregator.stats().pending_slots, 1u);
}

TEST(Aggregator, TooManyUnknownSlotsAreUnattributedAtOnce) {
  World world({.max_pending_slots = 2});
  world.collect([&] {
    for (uint32_t slot = 10; slot < 15; ++slot) world.aggregator.counter(slot, id(kRead), 1);
    world.aggregator.counter(4'000'000'000, id(kRead), 1);
  });
  world.emit_due();
  EXPECT_EQ(point(world.batch, "t.io", "direction=read sonde.subject=unattributed")->integer, 4);
  EXPECT_EQ(world.aggregator.stats().detours[static_cast<int>(Detour::PendingFull)].value, 4u);
}

TEST(Aggregator, RefusesSeriesThatNoModuleHas) {
  World world;
  world.add(5, World::container(50));
  world.collect([&] {
    world.aggregator.counter(5, {7, 0, 0}, 1);
    world.aggregator.counter(5, {0, 999, 0}, 2);
    world.aggregator.counter(5, id(kWait), 3);
    world.aggregator.histogram(5, id(kRead), histogram_of(1, 1, {{1, 1}}));
  });
  EXPECT_EQ(world.aggregator.stats().discards[static_cast<int>(Discard::UnknownSeries)].value, 7u);
}

TEST(Aggregator, PodGranularityFoldsContainers) {
  World world;
  Decision decision = World::decision();
  decision.granularity = Granularity::Pod;
  world.add(5, World::container(50, "app"), decision);
  world.add(6, World::container(60, "sidecar"), decision);
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 1);
    world.aggregator.counter(6, id(kRead), 2);
  });
  world.emit_due();
  const Point* read = point(world.batch, "t.io", "direction=read");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->integer, 3);
  const ResourcePtr resource = resource_of(world.batch, read);
  EXPECT_EQ(attribute(*resource, "k8s.container.name"), "(none)");
  EXPECT_TRUE(attribute(*resource, "service.instance.id").starts_with("shop.web."));
  // One of them ends: the pod goes on, and nothing is lost.
  world.end(5);
  world.collect([&] { world.aggregator.counter(5, id(kRead), 10); });
  world.remove(5);
  world.collect([&] { world.aggregator.counter(6, id(kRead), 20); });
  read = point(world.emit_due(), "t.io", "direction=read");
  EXPECT_EQ(read->integer, 33);
  EXPECT_EQ(resource_of(world.batch, read), resource);
}

TEST(Aggregator, ContainersOfAPodMayBeUnderDifferentPolicies) {
  World world;
  Decision coarse = World::decision(Level::Minimal);
  Decision fine = World::decision(Level::Standard);
  coarse.granularity = fine.granularity = Granularity::Pod;
  world.add(5, World::container(50, "app"), coarse);
  world.add(6, World::container(60, "sidecar"), fine);
  for (int i = 0; i < 3; ++i) {
    world.collect([&] {
      world.aggregator.counter(6, id(kTime), 1'000'000'000);
      world.aggregator.counter(5, id(kRead), 1);
    });
    world.emit_due();
    check_structure(*world.batch);
    EXPECT_DOUBLE_EQ(point(world.batch, "t.time")->real, i + 1.0);
    EXPECT_EQ(point(world.batch, "t.time")->start_ns, point(world.batch, "t.kills")->start_ns);
  }
}

TEST(Aggregator, SandboxesFoldIntoTheirPod) {
  World world;
  Subject pause = World::container(50, "");
  pause.type = ContainerType::Sandbox;
  world.add(5, pause);
  world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
  const Point* read = point(world.emit_due(), "t.io", "direction=read");
  ASSERT_TRUE(read);
  EXPECT_TRUE(attribute(*resource_of(world.batch, read), "service.instance.id").starts_with("shop.web."));
}

TEST(Aggregator, ProcessesAreOnThePoints) {
  World world;
  Decision decision = World::decision();
  decision.granularity = Granularity::Process;
  const Subject app = World::container(50);
  world.add(5, app, decision);
  world.put(6, app, 101, "postgres");
  world.decide(6, decision);
  world.put(7, app, 102, "wal\xff");
  world.decide(7, decision);
  world.collect([&] {
    world.aggregator.counter(5, id(kRead), 1);
    world.aggregator.counter(6, id(kRead), 2);
    world.aggregator.counter(7, id(kRead), 3);
    world.aggregator.counter(7, id(kWrite), 4);
  });
  world.emit_due();
  check_structure(*world.batch);
  EXPECT_EQ(point(world.batch, "t.io", "direction=read")->integer, 1);
  EXPECT_EQ(point(world.batch, "t.io", "direction=read process.executable.name=postgres process.pid=101")->integer, 2);
  EXPECT_EQ(
      point(world.batch, "t.io", "direction=write process.executable.name=wal\xEF\xBF\xBD process.pid=102")->integer,
      4);
  // A process ends: last value, then its mark; the others go on.
  world.end(7);
  world.collect([&] { world.aggregator.counter(7, id(kRead), 10); });
  world.emit_due();
  const std::string gone = "direction=read process.executable.name=wal\xEF\xBF\xBD process.pid=102";
  EXPECT_EQ(point(world.batch, "t.io", gone)->integer, 13);
  world.remove(7);
  world.collect();
  world.emit_due();
  check_structure(*world.batch);
  EXPECT_TRUE(point(world.batch, "t.io", gone)->no_recorded_value);
  EXPECT_FALSE(point(world.batch, "t.io", "direction=read")->no_recorded_value);
  world.emit_due();
  EXPECT_FALSE(point(world.batch, "t.io", gone));
}

TEST(Aggregator, FoldsExcessSeriesIntoOverflow) {
  World world;
  Decision decision = World::decision();
  decision.series_per_container = 10;
  world.add(5, World::container(50), decision);
  for (int round = 0; round < 2; ++round) {
    world.collect([&] {
      for (uint16_t i = 0; i < kManySeries; ++i) world.aggregator.counter(5, id(kMany + i), 1);
      world.aggregator.histogram(5, id(kWait), histogram_of(1, 1, {{1, 1}}));
    });
  }
  world.emit_due();
  check_structure(*world.batch);
  int64_t sum = 0;
  for (const Point* many : points(world.batch, "t.many")) sum += many->integer;
  EXPECT_EQ(sum, 2 * kManySeries);
  const Point* overflow = point(world.batch, "t.many", "otel.metric.overflow=true");
  ASSERT_TRUE(overflow);
  EXPECT_EQ(overflow->integer, 2 * (kManySeries - 9));  // t.kills is the tenth
  EXPECT_TRUE(point(world.batch, "t.wait")) << "a metric without attributes has nothing to fold";
  EXPECT_EQ(world.aggregator.stats().detours[static_cast<int>(Detour::SeriesPerContainer)].value,
            static_cast<uint64_t>(overflow->integer));
}

TEST(Aggregator, SaysWhichPolicyIsInTheWayOfTheNodesLimit) {
  World world;
  Decision decision = World::decision();
  decision.series_per_node = 20;
  decision.policies = {"first", "second"};
  decision.winners["seriesPerNode"] = "second";
  for (uint32_t slot = 5; slot < 9; ++slot) {
    world.add(slot, World::container(slot * 10, "c" + std::to_string(slot)), decision);
  }
  const auto all = [&] {
    for (uint32_t slot = 5; slot < 9; ++slot) {
      for (uint16_t i = 0; i < 10; ++i) world.aggregator.counter(slot, id(kMany + i), 1);
    }
  };
  world.collect(all);
  EXPECT_EQ(world.aggregator.stats().series_limited, std::vector<std::string>{"second"});
  EXPECT_LE(world.aggregator.stats().series, 20u + 4);
  world.emit_due();
  int64_t sum = 0;
  for (const Point* many : points(world.batch, "t.many")) sum += many->integer;
  EXPECT_EQ(sum, 40);
  world.collect();
  EXPECT_TRUE(world.aggregator.stats().series_limited.empty()) << "only the last collection counts";
}

TEST(Aggregator, HasABoundThatNoPolicyCanLift) {
  World world({.max_series = 12});
  Decision decision = World::decision();
  decision.series_per_container = 60'000;
  world.add(5, World::container(50), decision);
  world.add(6, World::container(60, "b"), decision);
  world.collect([&] {
    for (uint32_t slot : {5u, 6u}) {
      for (uint16_t i = 0; i < kManySeries; ++i) world.aggregator.counter(slot, id(kMany + i), 1);
    }
  });
  world.emit_due();
  int64_t sum = 0;
  for (const Point* many : points(world.batch, "t.many")) sum += many->integer;
  EXPECT_EQ(sum, 2 * kManySeries);
  EXPECT_EQ(world.aggregator.stats().detours[static_cast<int>(Detour::HardLimit)].value, 2u * kManySeries - 10);
}

}  // namespace
}  // namespace sonde
