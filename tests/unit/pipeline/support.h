// SPDX-License-Identifier: Apache-2.0
// A module with one series of each kind, and a small world whose snapshots are built by hand.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "agent/pipeline/aggregator.h"

namespace sonde::testing {

inline constexpr uint64_t kSecond = 1'000'000'000;

// Series of the module; the numbers are indexes into its table.
enum Series : uint16_t {
  kRead,
  kWrite,
  kWait,        // at all levels below Detailed …
  kWaitWakeup,  // … where these two take its place
  kWaitPreempt,
  kErrors,  // cells
  kKills,   // from zero
  kTime,    // ns, exported in s
  kOpen,    // up-down counter
  kNode,    // of the node
  kRare,    // opt-in
  kMany,    // first of kManySeries with an attribute each
};
inline constexpr int kManySeries = 40;
inline constexpr uint16_t kDisk = kMany + kManySeries;  // at all levels below Detailed …
inline constexpr uint16_t kDiskKeyed = kDisk + 1;       // … where this one takes its place
inline constexpr uint16_t kLimit = kDisk + 2;           // gauge

const std::vector<ModuleEntry>& test_modules();

inline SeriesId id(uint16_t series, uint32_t cell = 0) { return {0, series, cell}; }

class World {
 public:
  explicit World(AggregatorOptions options = {});

  // A container of pod "web" in namespace "shop".
  static Subject container(uint64_t cgroup, const std::string& name = "app", uint64_t started_ns = 0);
  static Decision decision(Level level = Level::Standard, uint32_t period_ms = 10'000);

  void put(uint32_t slot, Subject subject, uint32_t tgid = 0, const std::string& comm = "");
  void decide(uint32_t slot, Decision decision);
  void add(uint32_t slot, Subject subject, Decision decided = World::decision());
  void end(uint32_t slot);
  void undecide(uint32_t slot) { decisions_.erase(slot); }
  void remove(uint32_t slot);

  void pass(uint64_t ns);       // time goes by on both clocks
  void step_clock(int64_t ns);  // somebody sets the clock
  void publish();               // what was put, to be seen at the next collection

  void begin();  // begin_collection with the last published snapshots
  void finish() { aggregator.end_collection(now); }
  // publish, begin, samples, finish
  template <typename Samples>
  void collect(Samples samples) {
    publish();
    begin();
    samples();
    finish();
  }
  void collect() {
    collect([] {});
  }
  BatchPtr emit() { return batch = aggregator.emit(now); }
  // Lets the period go by before.
  BatchPtr emit_due(uint64_t period_ns = 10 * kSecond) {
    pass(period_ns);
    return emit();
  }

  Now now{1000 * kSecond, 1'700'000'000 * kSecond};
  Aggregator aggregator;
  BatchPtr batch;

 private:
  std::map<uint32_t, SlotOwner> owners_;
  std::map<uint32_t, DecisionPtr> decisions_;
  std::shared_ptr<const IdentitySnapshot> identity_;
  std::shared_ptr<const PolicySnapshot> policy_;
};

std::string text(const AttributeSet& attributes);  // a=1 b=x
std::string attribute(const Resource& resource, const std::string& key);

// Points of a metric in a batch, those with these attributes ("" all); not what series begin with.
std::vector<const Point*> points(const BatchPtr& batch, const std::string& metric, const std::string& attributes = "*");
const Point* point(const BatchPtr& batch, const std::string& metric, const std::string& attributes = "");
// What the series begins with in this batch.
const Point* beginning(const BatchPtr& batch, const std::string& metric, const std::string& attributes = "");
// The values among the points, and the end marks.
std::vector<const Point*> values(const std::vector<const Point*>& points);
std::vector<const Point*> marks(const std::vector<const Point*>& points);
ResourcePtr resource_of(const BatchPtr& batch, const Point* point);

// Structure that every batch must have: Resources cover all points, metrics stand together, attributes are sorted.
void check_structure(const Batch& batch);

HistogramDelta histogram_of(uint64_t count, uint64_t sum, const std::vector<BucketDelta>& buckets);

}  // namespace sonde::testing
