// SPDX-License-Identifier: Apache-2.0
// The agent's metrics about itself. The table in self_specs.cpp is the one truth; docs/ops/self-metrics.md is kept equal to
// it by a test. Values come from sources, which are asked at each emission:
//
//   self.add_source([&](SelfSink& sink) { report(sink, engine.stats()); });
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sonde/histogram.h>

#include "agent/base/mutex.h"
#include "agent/module/metric.h"
#include "agent/pipeline/batch.h"
#include "agent/pipeline/now.h"
#include "agent/pipeline/stats.h"

namespace sonde {

// Index into self_specs().
enum class SelfMetric : uint8_t {
  BuildInfo,
  ProcessCpuTime,
  ProcessMemory,
  ProcessVirtual,
  ProcessFds,
  ProcessThreads,
  ModuleState,
  ModulePrograms,
  ModuleEvents,
  ModuleRunTime,
  ModuleRunMean,
  ModuleMissedRuns,
  ModuleLosses,
  ModuleCollectionFailures,
  ModuleStep,
  MapEntries,
  MapCapacity,
  MapMemory,
  MapUpdateFailures,
  SlotsUsed,
  SlotsCapacity,
  SamplesReceived,
  SamplesDiscarded,
  SamplesDetoured,
  PendingSlots,
  Streams,
  Series,
  SnapshotAge,
  QueueBatches,
  QueueMemory,
  QueueCapacity,
  QueueDropped,
  ExportBatches,
  ExportPoints,
  ExportPointsRejected,
  ExportPointsDropped,
  ExportPointsSuperseded,
  ExportSpans,
  ExportSpansRejected,
  ExportSpansDropped,
  ExportRetries,
  ExportHalved,
  ExportScrapers,
  ExportEndedUnscraped,
  ExportBytes,
  ExportFailures,
  ExportQueueBatches,
  ExportQueueSpans,
  ExportQueueMemory,
  CollectionDuration,
  ExportDuration,
  OverheadUsage,
  OverheadBudget,
  Spans,
  SpansSuppressed,
  SpansLost,
  Count,
};
std::span<const MetricSpec> self_specs();

// Counts durations as the kernel side does (scale 2, second boundaries). Thread-safe.
class DurationHistogram {
 public:
  void observe(uint64_t ns);

  struct Value {
    uint64_t count = 0;
    uint64_t sum_ns = 0;
    std::array<uint64_t, SONDE_HIST_BUCKETS + 1> buckets{};
  };
  Value value() const;

 private:
  mutable Mutex mutex_;
  Value value_ SONDE_GUARDED_BY(mutex_);
};

// Takes the values of one emission. Attribute values in the order of the spec's attributes.
class SelfSink {
 public:
  virtual ~SelfSink() = default;
  virtual void value(SelfMetric metric, double value, std::initializer_list<std::string_view> attributes = {}) = 0;
  virtual void value(SelfMetric metric, uint64_t value, std::initializer_list<std::string_view> attributes = {}) = 0;
  virtual void histogram(SelfMetric metric, const DurationHistogram::Value& value,
                         std::initializer_list<std::string_view> attributes = {}) = 0;
};

void report(SelfSink& sink, const KernelStats& stats);
void report(SelfSink& sink, const AggregatorStats& stats);
void report(SelfSink& sink, const NamesStats& stats, Now now);
void report(SelfSink& sink, std::string_view queue, const QueueStats& stats);
void report(SelfSink& sink, const ExportStats& stats);
void report(SelfSink& sink, const SpanStats& stats);
void report(SelfSink& sink, const ProcessStats& stats);

class SelfMetrics {
 public:
  using Source = std::function<void(SelfSink&)>;

  // `started` is the start time of all series: they count since the start of the agent.
  explicit SelfMetrics(Now started);
  // Before the first append(): until now another agent exported under the same Resource, so nothing may start earlier.
  void start_at(Now now) { start_ns_ = now.real_ns; }

  // Called on the agent's loop at each emission: it must not block and must be safe against its owner's threads.
  void add_source(Source source);

  DurationHistogram collection_duration;
  DurationHistogram export_duration;

  // Appends the points of all sources, sorted by metric; build information, the process and the two histograms are
  // always among them. A series that existed and is no longer reported gets its end mark.
  void append(Batch& batch, Now now);

  // Bounds the memory that sources can take: series beyond are dropped and counted in `dropped`.
  static constexpr std::size_t kMaxSeries = 4000;
  uint64_t dropped() const { return dropped_; }

 private:
  class Collector;
  struct Known {
    SelfMetric metric;
    AttributeSetPtr attributes;
  };

  uint64_t start_ns_;
  Mutex mutex_;
  std::vector<Source> sources_ SONDE_GUARDED_BY(mutex_);
  std::vector<Known> known_;  // sorted by metric and attributes
  uint64_t last_time_ns_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace sonde
