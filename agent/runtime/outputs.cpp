// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/outputs.h"

#include <algorithm>
#include <chrono>

#include "agent/api/http_client.h"
#include "agent/base/clock.h"
#include "agent/export/file_span_exporter.h"
#include "agent/export/otlp_exporter.h"
#include "agent/export/otlp_span_exporter.h"

namespace sonde {
namespace {

constexpr uint64_t kQueueBatches = 16;
constexpr uint64_t kQueueBytes = 32ULL << 20;

PrometheusOptions prometheus_options(const Config& config) {
  PrometheusOptions options;
  options.legacy_names = config.exports.prometheus.naming == PrometheusNaming::Legacy;
  options.destination = "http://" + config.listen.http + "/metrics";
  return options;
}

std::shared_ptr<HttpTransport> http_for(const OtlpOptions& options) {
  return options.protocol == OtlpProtocol::HttpProtobuf ? std::make_shared<HttpClient>() : nullptr;
}

Result<std::unique_ptr<FileExporter>> make_file(const Config& config) {
  FileOptions options;
  options.path = config.exports.file.path;
  options.max_bytes = config.exports.file.max_bytes;
  options.keep = config.exports.file.max_files;
  return FileExporter::create(options);
}

Result<std::unique_ptr<Exporter>> make(ExportKind kind, const Config& config) {
  if (kind == ExportKind::Otlp) return make_otlp_exporter(config.exports.otlp, http_for(config.exports.otlp));
  auto file = make_file(config);
  if (!file) return file.error();
  return std::unique_ptr<Exporter>(std::move(*file));
}

ExportStats as_pipeline_stats(const ExporterBase& exporter) {
  const ExporterStats from = exporter.stats();
  ExportStats to;
  to.exporter = exporter.name();
  to.batches = from.batches;
  to.points_sent = from.points_sent;
  to.points_rejected = from.points_rejected;
  to.points_dropped = from.points_dropped;
  to.points_superseded = from.points_superseded;
  to.spans_sent = from.spans_sent;
  to.spans_rejected = from.spans_rejected;
  to.spans_dropped = from.spans_dropped;
  to.retries = from.retries;
  to.halved = from.halved;
  to.scrapers = from.scrapers;
  to.ended_unscraped = from.ended_unscraped;
  to.bytes_sent = from.bytes_sent;
  to.queued_batches = from.queued_batches;
  to.queued_bytes = from.queued_bytes;
  to.queued_spans = from.queued_spans;
  to.failures = from.failures;
  return to;
}

}  // namespace

Outputs::Outputs(const Config& config) : queue_(kQueueBatches, kQueueBytes), newest_(prometheus_options(config)) {}

Result<std::unique_ptr<Outputs>> Outputs::open(const Config& config, DurationHistogram* export_duration) {
  std::unique_ptr<Outputs> outputs(new Outputs(config));
  outputs->export_duration_ = export_duration;
  for (const ExportKind kind : config.exports.to) {
    if (kind == ExportKind::Prometheus) {
      outputs->pulled_ = true;
      continue;
    }
    auto exporter = make(kind, config);
    if (!exporter) return exporter.error();
    outputs->exporters_.push_back(std::move(*exporter));
  }
  if (auto opened = outputs->open_spans(config); !opened) return opened.error();
  outputs->thread_ = std::thread([raw = outputs.get()] { raw->run(); });
  return outputs;
}

Result<void> Outputs::open_spans(const Config& config) {
  const TracesConfig& traces = config.exports.traces;
  const SpanQueueLimits limits{traces.queue_spans, traces.queue_bytes, traces.request_spans};
  if (config.exports.traces_go_to(ExportKind::Otlp)) {
    const OtlpOptions options = config.exports.traces_otlp();
    auto exporter = make_otlp_span_exporter(options, limits, http_for(options));
    if (!exporter) return exporter.error().with("spans");
    span_exporters_.push_back(std::move(*exporter));
  }
  if (!config.exports.traces_go_to(ExportKind::File)) return {};
  FileExporter* file = nullptr;
  for (const auto& exporter : exporters_) {
    if (auto* found = dynamic_cast<FileExporter*>(exporter.get())) file = found;
  }
  if (!file) {
    auto made = make_file(config);
    if (!made) return made.error().with("spans");
    spans_file_ = std::move(*made);
    file = spans_file_.get();
  }
  span_exporters_.push_back(make_file_span_exporter(*file, limits));
  return {};
}

Outputs::~Outputs() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

void Outputs::push(BatchPtr batch) {
  newest_.push(batch);  // at once: what a reader sees must not wait for a slow disk
  const uint64_t bytes = batch_memory(*batch);
  queue_.push(std::move(batch), bytes);
}

void Outputs::consume(std::shared_ptr<const SpanBatch> batch) {
  for (const auto& exporter : span_exporters_) exporter->consume(batch);
}

void Outputs::run() {
  while (true) {
    auto batch = queue_.pop(std::chrono::seconds(1));
    if (!batch) {
      if (queue_.closed()) return;
      continue;
    }
    const uint64_t begin = monotonic_ns();
    for (const auto& exporter : exporters_) exporter->push(*batch);
    if (export_duration_) export_duration_->observe(monotonic_ns() - begin);
    handled_.fetch_add(1);
  }
}

void Outputs::flush(uint64_t timeout_ns) {
  const uint64_t end = monotonic_ns() + timeout_ns;
  const auto waiting = [this] {
    const QueueStats stats = queue_.stats();
    return handled_.load() + stats.dropped < stats.pushed;
  };
  while (waiting() && monotonic_ns() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const auto flush = [end](ExporterBase& exporter) {
    const uint64_t now = monotonic_ns();
    exporter.flush(now < end ? end - now : 0);
  };
  for (const auto& exporter : exporters_) flush(*exporter);
  for (const auto& exporter : span_exporters_) flush(*exporter);
}

// Those of metrics first.
std::vector<const ExporterBase*> Outputs::all() const {
  std::vector<const ExporterBase*> list;
  for (const auto& exporter : exporters_) list.push_back(exporter.get());
  for (const auto& exporter : span_exporters_) list.push_back(exporter.get());
  return list;
}

std::vector<ExportStats> Outputs::stats() const {
  std::vector<ExportStats> stats;
  for (const ExporterBase* exporter : all()) stats.push_back(as_pipeline_stats(*exporter));
  stats.push_back(as_pipeline_stats(newest_));
  return stats;
}

std::vector<Outputs::Report> Outputs::reports() const {
  std::vector<Report> reports;
  const auto add = [&](const ExporterBase& exporter) {
    reports.push_back({as_pipeline_stats(exporter), exporter.destination(), exporter.stats().last_error});
  };
  for (const ExporterBase* exporter : all()) add(*exporter);
  add(newest_);
  if (!pulled_) reports.back().destination = "kept for sonde top and /metrics on loopback";
  return reports;
}

std::vector<std::string> Outputs::destinations() const {
  std::vector<std::string> list;
  for (const ExporterBase* exporter : all())
    list.push_back(std::string(exporter->name()) + " to " + exporter->destination());
  if (pulled_) list.push_back("prometheus at " + newest_.destination());
  return list;
}

std::vector<std::string> Outputs::last_errors() const {
  std::vector<std::string> errors;
  for (const ExporterBase* exporter : all()) {
    const std::string error = exporter->stats().last_error;
    if (!error.empty()) errors.push_back(std::string(exporter->name()) + ": " + error);
  }
  return errors;
}

}  // namespace sonde
