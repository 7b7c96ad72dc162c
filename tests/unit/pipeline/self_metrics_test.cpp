// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/self_metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

std::string word(Instrument instrument) {
  switch (instrument) {
    case Instrument::Counter: return "counter";
    case Instrument::UpDownCounter: return "up-down counter";
    case Instrument::Gauge: return "gauge";
    case Instrument::Histogram: return "histogram";
  }
  return "";
}

// The table of docs/ops/self-metrics.md.
std::string table() {
  std::ostringstream out;
  out << "| metric | kind | unit | attributes | description |\n|---|---|---|---|---|\n";
  for (const MetricSpec& spec : self_specs()) {
    out << "| `" << spec.name << "` | " << word(spec.instrument) << " | " << spec.unit << " | ";
    for (std::size_t i = 0; i < spec.attributes.size(); ++i) {
      out << (i ? "; " : "") << "`" << spec.attributes[i].key << "`: " << spec.attributes[i].values;
    }
    out << " | " << spec.description << " |\n";
  }
  return out.str();
}

TEST(SelfMetrics, AreDocumented) {
  const std::string path = SONDE_SOURCE_DIR "/docs/ops/self-metrics.md";
  std::stringstream file;
  file << std::ifstream(path).rdbuf();
  std::string text = file.str();
  const std::size_t begin = text.find("| metric |");
  const std::size_t end = text.find("\n\n", begin);
  ASSERT_NE(begin, std::string::npos) << path;
  if (std::getenv("SONDE_UPDATE_DOCS")) {
    text.replace(begin, end == std::string::npos ? end : end + 1 - begin, table());
    std::ofstream(path) << text;
    return;
  }
  EXPECT_EQ(text.substr(begin, end == std::string::npos ? end : end + 1 - begin), table())
      << "run this test with SONDE_UPDATE_DOCS=1";
}

TEST(SelfMetrics, HaveNamesInTheStyleOfTheCatalogue) {
  std::set<std::string_view> names;
  for (const MetricSpec& spec : self_specs()) {
    EXPECT_TRUE(spec.name.starts_with("sonde.")) << spec.name;
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name << " is there twice";
    EXPECT_EQ(spec.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_."), std::string::npos) << spec.name;
    EXPECT_TRUE(spec.node);
    EXPECT_FALSE(spec.description.empty());
    EXPECT_TRUE(spec.description.ends_with('.'));
  }
}

TEST(SelfMetrics, AreOnTheNodesResourceWithEverythingElse) {
  SelfMetrics self(Now{1, 1'600'000'000 * kSecond});
  KernelStats kernel;
  kernel.modules.resize(1);
  kernel.modules[0].name = "io";
  kernel.modules[0].state = ModuleState::Running;
  kernel.modules[0].events = 12;
  kernel.modules[0].run_ns = 1'500'000'000;
  kernel.modules[0].losses[SONDE_LOSS_NO_ROW] = 4;
  kernel.modules[0].losses[14] = 2;
  kernel.modules[0].overhead_step = 2;
  kernel.modules[0].maps = {{"io_counters", 3, 100, 4096, 0}};
  self.add_source([&](SelfSink& sink) { report(sink, kernel); });
  self.collection_duration.observe(1'000'000);

  World world;
  Aggregator aggregator({.modules = test_modules(), .node_period_ms = 10'000}, &self);
  self.add_source([&](SelfSink& sink) { report(sink, aggregator.stats()); });
  const NamesStats names{"kubelet", world.now.boot_ns};
  self.add_source([&](SelfSink& sink) { report(sink, names, world.now); });
  const auto none = std::make_shared<IdentitySnapshot>();
  aggregator.begin_collection(none, std::make_shared<PolicySnapshot>(), world.now);
  aggregator.counter(0, id(kRead), 5);
  aggregator.end_collection(world.now);
  world.pass(10 * kSecond);
  const BatchPtr batch = aggregator.emit(world.now);
  ASSERT_TRUE(batch);
  check_structure(*batch);
  EXPECT_EQ(batch->resources.size(), 1u);
  EXPECT_EQ(point(batch, "sonde.module.events", "sonde.module=io")->integer, 12);
  EXPECT_EQ(point(batch, "sonde.module.events", "sonde.module=io")->start_ns, 1'600'000'000 * kSecond);
  EXPECT_DOUBLE_EQ(point(batch, "sonde.module.run.time", "sonde.module=io")->real, 1.5);
  EXPECT_EQ(point(batch, "sonde.module.losses", "sonde.module=io sonde.reason=no_row")->integer, 4);
  EXPECT_EQ(point(batch, "sonde.module.losses", "sonde.module=io sonde.reason=other")->integer, 2);
  EXPECT_EQ(point(batch, "sonde.module.overhead.step", "sonde.module=io")->integer, 2);
  EXPECT_EQ(point(batch, "sonde.map.capacity", "sonde.map=io_counters sonde.module=io")->integer, 100);
  EXPECT_EQ(point(batch, "sonde.agent.samples.detoured", "sonde.reason=unattributed_slot")->integer, 1);
  EXPECT_GT(point(batch, "sonde.agent.memory.resident")->integer, 1 << 20);
  EXPECT_GT(point(batch, "sonde.agent.fds")->integer, 2);
  EXPECT_DOUBLE_EQ(point(batch, "sonde.agent.snapshot.age", "sonde.identity.source=kubelet")->real, 10);
  EXPECT_EQ(points(batch, "sonde.build_info").size(), 1u);
  const Point* duration = point(batch, "sonde.agent.collection.duration");
  ASSERT_TRUE(duration);
  EXPECT_EQ(duration->count, 1u);
  EXPECT_DOUBLE_EQ(duration->real, 1e-3);
  EXPECT_EQ(duration->bucket_offset, -40) << "(2^-10, 2^-9.75] s";
  EXPECT_EQ(duration->bucket_length, 1u);
  EXPECT_EQ(batch->buckets.at(duration->bucket_begin), 1u);
}

TEST(SelfMetrics, WhatIsNoLongerReportedEnds) {
  SelfMetrics self(Now{1, 100});
  std::string state = "running";
  self.add_source([&](SelfSink& sink) { sink.value(SelfMetric::ModuleState, uint64_t{1}, {"io", state}); });
  const auto emit = [&](uint64_t time) {
    auto batch = std::make_shared<Batch>();
    self.append(*batch, Now{time, time});
    return BatchPtr(batch);
  };
  emit(200);
  state = "failed";
  const BatchPtr second = emit(300);
  EXPECT_TRUE(point(second, "sonde.module.state", "sonde.module=io sonde.state=running")->no_recorded_value);
  EXPECT_FALSE(point(second, "sonde.module.state", "sonde.module=io sonde.state=failed")->no_recorded_value);
  const BatchPtr third = emit(400);
  EXPECT_EQ(points(third, "sonde.module.state").size(), 1u);
}

TEST(SelfMetrics, ASourceCannotFillTheMemory) {
  SelfMetrics self(Now{1, 100});
  self.add_source([](SelfSink& sink) {
    for (int i = 0; i < 10'000; ++i) sink.value(SelfMetric::ModuleEvents, uint64_t{1}, {std::to_string(i)});
  });
  Batch batch;
  self.append(batch, Now{200, 200});
  // The zeros that totals begin with are no series of their own.
  EXPECT_LE(std::ranges::count(batch.points, false, &Point::begins), std::ptrdiff_t{SelfMetrics::kMaxSeries});
  EXPECT_GT(self.dropped(), 6000u);
}

TEST(SelfMetrics, DurationsCountFromAllThreads) {
  SelfMetrics self(Now{1, 100});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) self.export_duration.observe(1000);
      self.add_source([](SelfSink& sink) { sink.value(SelfMetric::SlotsUsed, uint64_t{1}); });
    });
  }
  for (int i = 0; i < 20; ++i) {
    Batch batch;
    self.append(batch, Now{200, 200});
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(self.export_duration.value().count, 4000u);
  EXPECT_EQ(self.export_duration.value().sum_ns, 4'000'000u);
}

TEST(Aggregator, StatsMayBeReadByOthers) {
  World world;
  world.add(5, World::container(50));
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    while (!stop) EXPECT_LE(world.aggregator.stats().series, 10u);
  });
  for (int i = 0; i < 200; ++i) {
    world.collect([&] { world.aggregator.counter(5, id(kRead), 1); });
    world.emit_due();
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace sonde
