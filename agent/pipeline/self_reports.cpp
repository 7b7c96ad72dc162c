// SPDX-License-Identifier: Apache-2.0
// Stats of the stages as values of the agent's own metrics.
#include "agent/module/losses.h"
#include "agent/pipeline/self_metrics.h"

namespace sonde {
namespace {

void report(SelfSink& sink, const ModuleStats& module) {
  const std::string_view name = module.name;
  sink.value(SelfMetric::ModuleState, uint64_t{1}, {name, state_name(module.state)});
  sink.value(SelfMetric::ModulePrograms, module.programs, {name});
  sink.value(SelfMetric::ModuleEvents, module.events, {name});
  sink.value(SelfMetric::ModuleRunTime, static_cast<double>(module.run_ns) * 1e-9, {name});
  if (module.mean_run_ns > 0) sink.value(SelfMetric::ModuleRunMean, module.mean_run_ns * 1e-9, {name});
  sink.value(SelfMetric::ModuleMissedRuns, module.missed_runs, {name});
  sink.value(SelfMetric::ModuleCollectionFailures, module.collection_failures, {name});
  sink.value(SelfMetric::ModuleStep, module.overhead_step, {name});
  uint64_t other = 0;
  for (std::size_t reason = 0; reason < module.losses.size(); ++reason) {
    const std::string_view word = loss_name(name, reason);
    if (word == "other") {
      other += module.losses[reason];
    } else {
      sink.value(SelfMetric::ModuleLosses, module.losses[reason], {name, word});
    }
  }
  if (other) sink.value(SelfMetric::ModuleLosses, other, {name, "other"});
  for (const MapStats& map : module.maps) {
    sink.value(SelfMetric::MapEntries, map.entries, {name, map.name});
    sink.value(SelfMetric::MapCapacity, map.capacity, {name, map.name});
    sink.value(SelfMetric::MapMemory, map.bytes, {name, map.name});
    sink.value(SelfMetric::MapUpdateFailures, map.update_failures, {name, map.name});
  }
}

}  // namespace

void report(SelfSink& sink, const KernelStats& stats) {
  for (const ModuleStats& module : stats.modules) report(sink, module);
  sink.value(SelfMetric::SlotsUsed, stats.slots_used);
  sink.value(SelfMetric::SlotsCapacity, stats.slots_capacity);
}

void report(SelfSink& sink, const AggregatorStats& stats) {
  sink.value(SelfMetric::SamplesReceived, stats.received.samples);
  for (std::size_t i = 0; i < stats.discards.size(); ++i) {
    sink.value(SelfMetric::SamplesDiscarded, stats.discards[i].samples, {discard_name(static_cast<Discard>(i))});
  }
  for (std::size_t i = 0; i < stats.detours.size(); ++i) {
    sink.value(SelfMetric::SamplesDetoured, stats.detours[i].samples, {detour_name(static_cast<Detour>(i))});
  }
  sink.value(SelfMetric::PendingSlots, stats.pending_slots);
  sink.value(SelfMetric::Streams, stats.streams);
  sink.value(SelfMetric::Series, stats.series);
}

void report(SelfSink& sink, const NamesStats& stats, Now now) {
  if (stats.fresh_ns == 0 || stats.source.empty()) return;
  const uint64_t age = now.boot_ns > stats.fresh_ns ? now.boot_ns - stats.fresh_ns : 0;
  sink.value(SelfMetric::SnapshotAge, static_cast<double>(age) * 1e-9, {stats.source});
}

void report(SelfSink& sink, std::string_view queue, const QueueStats& stats) {
  sink.value(SelfMetric::QueueBatches, stats.items, {queue});
  sink.value(SelfMetric::QueueMemory, stats.bytes, {queue});
  sink.value(SelfMetric::QueueCapacity, stats.max_bytes, {queue});
  sink.value(SelfMetric::QueueDropped, stats.dropped, {queue});
}

void report(SelfSink& sink, const ExportStats& stats) {
  const std::string_view name = stats.exporter;
  sink.value(SelfMetric::ExportBatches, stats.batches, {name});
  if (stats.of_spans()) {
    sink.value(SelfMetric::ExportSpans, stats.spans_sent, {name});
    sink.value(SelfMetric::ExportSpansRejected, stats.spans_rejected, {name});
    for (const auto& [reason, spans] : stats.spans_dropped) {
      sink.value(SelfMetric::ExportSpansDropped, spans, {name, reason});
    }
    sink.value(SelfMetric::ExportQueueSpans, stats.queued_spans, {name});
  } else {
    sink.value(SelfMetric::ExportPoints, stats.points_sent, {name});
    sink.value(SelfMetric::ExportPointsRejected, stats.points_rejected, {name});
    sink.value(SelfMetric::ExportPointsDropped, stats.points_dropped, {name});
    sink.value(SelfMetric::ExportPointsSuperseded, stats.points_superseded, {name});
    sink.value(SelfMetric::ExportQueueBatches, stats.queued_batches, {name});
  }
  sink.value(SelfMetric::ExportRetries, stats.retries, {name});
  if (name.starts_with("otlp")) sink.value(SelfMetric::ExportHalved, stats.halved, {name});
  if (name == "prometheus") {
    sink.value(SelfMetric::ExportScrapers, stats.scrapers, {name});
    sink.value(SelfMetric::ExportEndedUnscraped, stats.ended_unscraped, {name});
  }
  sink.value(SelfMetric::ExportBytes, stats.bytes_sent, {name});
  for (const auto& [code, times] : stats.failures) sink.value(SelfMetric::ExportFailures, times, {name, code});
  sink.value(SelfMetric::ExportQueueMemory, stats.queued_bytes, {name});
}

void report(SelfSink& sink, const SpanStats& stats) {
  sink.value(SelfMetric::Spans, stats.recorded);
  sink.value(SelfMetric::SpansSuppressed, stats.suppressed);
  sink.value(SelfMetric::SpansLost, stats.buffer_full, {"buffer_full"});
  sink.value(SelfMetric::SpansLost, stats.unknown_owner, {"unknown_owner"});
  sink.value(SelfMetric::SpansLost, stats.malformed, {"malformed"});
}

void report(SelfSink& sink, const ProcessStats& stats) {
  sink.value(SelfMetric::ProcessCpuTime, stats.cpu_seconds);
  sink.value(SelfMetric::ProcessMemory, stats.resident_bytes);
  sink.value(SelfMetric::ProcessVirtual, stats.virtual_bytes);
  sink.value(SelfMetric::ProcessFds, stats.open_fds);
  sink.value(SelfMetric::ProcessThreads, stats.threads);
}

}  // namespace sonde
