// SPDX-License-Identifier: Apache-2.0
// Inside of the aggregator: routing of samples (aggregator_impl.cpp), emission (emission.cpp).
#pragma once

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/pipeline/aggregator.h"
#include "agent/pipeline/batch_pool.h"
#include "agent/pipeline/batch_writer.h"
#include "agent/pipeline/stream_table.h"

namespace sonde {

class Aggregator::Impl {
 public:
  Impl(AggregatorOptions options, SelfMetrics* self);

  void begin_collection(std::shared_ptr<const IdentitySnapshot> identity, std::shared_ptr<const PolicySnapshot> policy,
                        Now now);
  void end_collection(Now now, bool everything);

  void received(uint64_t amount) {
    ++stats_.received.samples;
    stats_.received.value += amount;
  }
  // The quick way: the series has moved before.
  Accumulator* find(uint32_t number, SeriesId id) {
    Slot* slot = table_.find(number);
    const int ordinal = catalog_.ordinal(id);
    if (!slot || !slot->group || ordinal < 0 || id.cell != 0) return nullptr;
    Accumulator* series = slot->group->find(static_cast<uint16_t>(ordinal));
    return series && series->takes_samples() ? series : nullptr;
  }
  // Where a sample goes, as a series of that kind; null if nowhere, which has been counted then.
  Accumulator* route(uint32_t number, SeriesId id, Source source, uint64_t amount);
  void gauge(uint32_t slot, SeriesId id, int64_t value);

  BatchPtr emit(Now now, bool all);
  uint64_t next_due(uint64_t boot_ns) const;
  AggregatorStats stats() const;

 private:
  struct Pending {
    Group group;
    int collections = 0;
  };

  Accumulator* credit(Stream& stream, Group& group, const Located& located, uint64_t samples, uint64_t amount);
  Accumulator* fold(Stream& stream, const Located& located, Detour why, uint64_t samples, uint64_t amount);
  Accumulator* unattributed(const Located& located, Detour why, uint64_t samples, uint64_t amount);
  Accumulator* of_node(Stream& stream, const Located& located, std::size_t limit);
  Accumulator* hold(uint32_t number, const Located& located, uint64_t amount);
  Accumulator* discard(Discard why, uint64_t samples, uint64_t amount);
  Accumulator& create(Stream& stream, Group& group, const Located& located);
  void resolve_pending();
  void follow_node_policy();
  Accumulator* node_series(const Located& located, uint64_t amount);
  void settle(Slot& slot, Pending& pending);
  void move_all(Group& from, const std::function<Accumulator*(const Located&, const Accumulator&)>& to);

  void start_from_zero(Stream& stream);
  void end_life(Group& group);
  void end_gauges();
  Accumulator* state_of(const Slot& slot, const Located& located);
  void merge(Stream& into, Stream& from, Now now);
  void reopen(Stream& into, const Stream& from, Now now);
  void say_returning(Now now);
  void say_returning(BatchWriter& writer, Stream& stream);
  void park(Stream& stream);
  void leave_books(Stream& stream);
  void emit_stream(BatchWriter& writer, Stream& stream, Now now, bool all);
  void emit_node(BatchWriter& writer, Batch& batch, Now now, bool all);
  bool is_due(const Stream& stream, uint64_t boot_ns) const;
  bool sends(const Stream& stream, Now now, bool all) const;
  std::shared_ptr<Batch> empty_batch(Now now, bool all);
  void send_streams(BatchWriter& writer, Now now, bool all);
  void publish_stats();

  const AggregatorOptions options_;
  SelfMetrics* const self_;
  Catalog catalog_;
  ResourceRules rules_;
  StreamTable table_;
  Stream node_;                   // metrics of the node, from SONDE_SLOT_NODE
  DecisionPtr node_decision_;     // null: none of them is asked for
  std::vector<bool> node_asked_;  // by ordinal
  Stream unattributed_;           // on the node's Resource too, with sonde.subject on the points
  std::unordered_map<uint32_t, Pending> pending_;
  std::shared_ptr<const IdentitySnapshot> identity_;
  std::shared_ptr<const PolicySnapshot> policy_;
  std::set<std::string> limited_;
  std::size_t series_ = 0;        // that are sent
  std::size_t parked_ = 0;        // whose totals are kept
  std::shared_ptr<Batch> early_;  // what series that came back begin with; sent with the next emission
  uint32_t collection_ = 0;
  std::size_t last_buckets_ = 0;
  BatchPool batches_;

  AggregatorStats stats_;
  mutable Mutex mutex_;
  AggregatorStats published_ SONDE_GUARDED_BY(mutex_);
};

}  // namespace sonde
