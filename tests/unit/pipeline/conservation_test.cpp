// SPDX-License-Identifier: Apache-2.0
// Whatever happens to containers, policies and slots: sum in = sum out.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <tuple>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

// What a receiver makes of the batches: the total of each stream, resets by a new start time taken into account.
class Receiver {
 public:
  void take(const BatchPtr& batch) {
    if (!batch) return;
    check_structure(*batch);
    for (const ResourcePoints& part : batch->resources) {
      for (std::size_t i = part.begin; i < part.begin + part.length; ++i) take(part.resource->id, batch->points[i]);
    }
  }
  uint64_t total() const { return total_; }

 private:
  struct Last {
    uint64_t start = 0;
    uint64_t time = 0;
    uint64_t value = 0;
  };
  void take(uint64_t resource, const Point& point) {
    if (point.metric->instrument == Instrument::Gauge || point.metric->instrument == Instrument::UpDownCounter) return;
    Last& last = series_[{resource, point.metric, text(*point.attributes)}];
    ASSERT_GT(point.time_ns, last.time) << point.metric->name << " {" << text(*point.attributes) << "} of Resource "
                                        << resource << " goes back in time, or stands still; its start is "
                                        << point.start_ns << ", its last start was " << last.start;
    if (point.no_recorded_value) {
      last.time = point.time_ns;
      return;
    }
    const uint64_t value = point.metric->instrument == Instrument::Histogram ? point.count
                           : point.metric->integer                           ? static_cast<uint64_t>(point.integer)
                                                   : static_cast<uint64_t>(point.real * 1e9 + 0.5);
    if (point.start_ns == last.start) {
      ASSERT_GE(value, last.value) << point.metric->name << " fell";
      if (point.begins) {
        ASSERT_EQ(value, last.value) << point.metric->name << " came back with something else";
      }
      total_ += value - last.value;
    } else {
      ASSERT_TRUE(!point.begins || value == 0);
      ASSERT_GE(point.start_ns, last.time + (last.time ? 1 : 0))
          << point.metric->name << " {" << text(*point.attributes) << "} of Resource " << resource
          << " started before its last point; its last start was " << last.start << " and value " << last.value
          << ", now " << value;
      total_ += value;
    }
    last = {point.start_ns, point.time_ns, value};
  }

  std::map<std::tuple<uint64_t, const MetricSpec*, std::string>, Last> series_;
  uint64_t total_ = 0;
};

class Chaos {
 public:
  explicit Chaos(uint32_t seed)
      : random_(seed),
        world_({.attached_ns = 900 * kSecond,
                .max_series = 400,
                .unattributed_series = 30,
                .max_pending_slots = 4,
                .pending_collections = 2,
                // Whether a container may come back changes behind the snapshots.
                .may_return = [this](const Subject&, StreamScope) { return pick(3) > 0; }}) {}

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      for (int i = pick(4); i > 0; --i) change();
      if (pick(3)) world_.publish();
      if (!published_) world_.publish();
      published_ = true;
      world_.pass(1 + pick(3) * kSecond);
      world_.begin();
      for (int i = pick(60); i > 0; --i) sample();
      world_.finish();
      if (pick(2)) receiver_.take(world_.emit());
      if (::testing::Test::HasFatalFailure()) return;
    }
    receiver_.take(world_.aggregator.emit_all(world_.now));
    // What still waits for a name goes to unattributed after some collections.
    for (int i = 0; i < 4; ++i) {
      world_.begin();
      world_.finish();
      world_.pass(kSecond);
      receiver_.take(world_.aggregator.emit_all(world_.now));
    }
  }

  void check() {
    const AggregatorStats stats = world_.aggregator.stats();
    uint64_t discarded = 0;
    for (const Tally& tally : stats.discards) discarded += tally.value;
    EXPECT_EQ(stats.received.value, sent_);
    EXPECT_EQ(receiver_.total() + discarded, sent_);
    EXPECT_GT(receiver_.total(), sent_ / 4) << "the test must not discard all";
    EXPECT_EQ(stats.pending_slots, 0u);
  }

 private:
  int pick(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  Decision any_decision() {
    static constexpr Level kLevels[] = {Level::Minimal, Level::Standard, Level::Standard, Level::Detailed};
    static constexpr Granularity kGranularities[] = {Granularity::Container, Granularity::Workload, Granularity::Pod,
                                                     Granularity::Process};
    // One after the other: the order in which arguments are evaluated is the compiler's.
    const uint32_t period_ms = pick(2) ? 1000 : 5000;
    Decision decision = World::decision(kLevels[pick(4)], period_ms);
    decision.granularity = kGranularities[pick(4)];
    decision.series_per_container = pick(3) ? 200 : 8;
    decision.series_per_node = pick(3) ? 20'000 : 60;
    if (pick(2)) decision.pod_labels = {"team"};
    return decision;
  }

  Subject any_container() {
    const uint64_t started_ns = pick(2) ? world_.now.boot_ns : 0;
    const std::string name = "c" + std::to_string(pick(3));
    Subject subject = World::container(++cgroup_, name, started_ns);
    subject.pod_uid = "uid" + std::to_string(pick(2));
    if (pick(2)) subject.owners = {{"Job", "job"}};
    subject.pod_labels["team"] = pick(2) ? "red" : "blue";
    return subject;
  }

  void change() {
    const uint32_t slot = 2 + pick(10);
    const bool there = subjects_.contains(slot);
    switch (pick(7)) {
      case 0:
      case 1:
        if (there) break;
        subjects_[slot] = any_container();
        world_.put(slot, subjects_[slot]);
        if (pick(4)) world_.decide(slot, any_decision());
        break;
      case 2:  // a process of some container
        if (there || subjects_.empty()) break;
        subjects_[slot] = subjects_.begin()->second;
        world_.put(slot, subjects_[slot], 100 + slot, "sh");
        world_.decide(slot, any_decision());
        break;
      case 3:
        if (there) world_.end(slot);
        break;
      case 4:
        subjects_.erase(slot);
        world_.remove(slot);
        break;
      case 5:
        if (there) world_.decide(slot, any_decision());
        if (there && !pick(4)) world_.undecide(slot);
        break;
      case 6:
        if (!there) break;
        subjects_[slot].pod_labels["team"] = pick(2) ? "red" : "blue";
        world_.put(slot, subjects_[slot]);
        break;
    }
  }

  void sample() {
    const uint32_t slot = pick(20) ? static_cast<uint32_t>(pick(14)) : random_();
    const uint64_t amount = 1 + random_() % 1000;
    sent_ += amount;
    switch (pick(6)) {
      case 0: world_.aggregator.counter(slot, id(pick(2) ? kRead : kWrite), amount); break;
      case 1: {
        const uint16_t series[] = {kWait, kWaitWakeup, kWaitPreempt};
        const auto bucket = static_cast<uint16_t>(pick(147));
        world_.aggregator.histogram(slot, id(series[pick(3)]), histogram_of(amount, 7, {{bucket, amount}}));
        break;
      }
      case 2: world_.aggregator.counter(slot, id(kErrors, static_cast<uint32_t>(pick(40))), amount); break;
      case 3: world_.aggregator.counter(slot, id(static_cast<uint16_t>(kMany + pick(kManySeries))), amount); break;
      case 4: world_.aggregator.counter(slot, id(pick(2) ? kTime : kNode), amount); break;
      case 5:
        world_.aggregator.gauge(slot, id(kOpen), pick(10));
        sent_ -= amount;
        break;
    }
  }

  std::mt19937 random_;
  World world_;
  Receiver receiver_;
  std::map<uint32_t, Subject> subjects_;
  uint64_t cgroup_ = 100;
  uint64_t sent_ = 0;
  bool published_ = false;
};

void expect_conserved(uint32_t seed) {
  SCOPED_TRACE(seed);
  Chaos chaos(seed);
  chaos.run(150);
  chaos.check();
}

TEST(Conservation, SumInIsSumOut) {
  for (uint32_t seed = 1; seed <= 60 && !HasFailure(); ++seed) expect_conserved(seed);
}

// The one of 12,000 in which a process came over from another stream after it had ended in this one.
TEST(Conservation, SumInIsSumOutThoughAProcessComesOver) { expect_conserved(5252); }

}  // namespace
}  // namespace sonde
