// SPDX-License-Identifier: Apache-2.0
// From deltas by slot to totals by stream to batches. A stream is what one OTLP Resource says: a container (its
// processes on the points, where a policy asks that), a pod or a workload. For the agent's loop alone, except stats():
//
//   aggregator.begin_collection(identity, policy, Now::read());
//   engine.collect(aggregator, clear, true);
//   aggregator.end_collection(Now::read());
//   if (BatchPtr batch = aggregator.emit(now)) queue.push(batch);
//
// Sum in = sum out: what is received is in a stream, in the unattributed stream, or counted in stats().discards.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/module/module.h"
#include "agent/module/sample.h"
#include "agent/pipeline/batch.h"
#include "agent/pipeline/now.h"
#include "agent/pipeline/resource.h"
#include "agent/pipeline/stats.h"
#include "agent/policy/decision.h"

namespace sonde {

class SelfMetrics;

struct AggregatorOptions {
  std::span<const ModuleEntry> modules;  // sonde::modules(); must outlive the aggregator and its batches
  ResourceOptions resource;
  uint64_t attached_ns = 0;    // CLOCK_BOOTTIME since when new containers are counted from their first instruction
  uint64_t not_before_ns = 0;  // CLOCK_BOOTTIME; what was before another agent has exported: no stream starts earlier
  uint32_t node_period_ms = 30'000;  // of what is on the node's Resource
  uint64_t phase_ns = 0;             // shifts all periods, so that nodes do not send at once
  uint32_t max_slots = 1 << 16;
  std::size_t max_series = 200'000;  // bound on memory, whatever policies say
  std::size_t unattributed_series = 2000;
  std::size_t max_pending_slots = 1024;  // slots no snapshot knows yet
  int pending_collections = 5;           // so long they are waited for
  // May a container (a pod, a workload) that has nothing running be started again, under policies that select it? While it may,
  // its stream goes on and its last values are repeated. Asked at each collection, on the agent's loop. Null: never.
  std::function<bool(const Subject&, StreamScope)> may_return;
};

class Aggregator final : public SampleSink {
 public:
  // `self` may be null; otherwise it must outlive the aggregator.
  explicit Aggregator(AggregatorOptions options, SelfMetrics* self = nullptr);
  ~Aggregator() override;
  Aggregator(const Aggregator&) = delete;
  Aggregator& operator=(const Aggregator&) = delete;

  // Both snapshots must speak of the same moment: a slot that identity has and policy has not is not selected. A slot
  // may get a new owner only after a snapshot without the old one has been given here.
  void begin_collection(std::shared_ptr<const IdentitySnapshot> identity, std::shared_ptr<const PolicySnapshot> policy,
                        Now now);

  void counter(uint32_t slot, SeriesId id, uint64_t delta) override;
  void gauge(uint32_t slot, SeriesId id, int64_t value) override;
  void histogram(uint32_t slot, SeriesId id, const HistogramDelta& delta) override;

  // everything: false if only what ended was read, so that more may come of subjects that are no longer selected.
  void end_collection(Now now, bool everything = true);

  // The points of the subjects that are due: those whose period has passed, and those that ended. Null: nothing is.
  BatchPtr emit(Now now);
  // Everything, due or not: the last flush before the agent ends, or on demand.
  BatchPtr emit_all(Now now);

  // When something will be due next, CLOCK_BOOTTIME.
  uint64_t next_due(uint64_t boot_ns) const;

  AggregatorStats stats() const;  // from any thread

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sonde
