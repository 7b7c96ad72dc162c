// SPDX-License-Identifier: Apache-2.0
// The exporters and the thread that feeds those of metrics. The newest values are always kept for /metrics, gRPC and `sonde top`,
// whatever else is configured. Spans go directly to their exporters, each of which has a bounded queue and a thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/result.h"
#include "agent/config/config.h"
#include "agent/export/exporter.h"
#include "agent/export/file_exporter.h"
#include "agent/export/prometheus_exporter.h"
#include "agent/pipeline/bounded_queue.h"
#include "agent/pipeline/self_metrics.h"

namespace sonde {

class Outputs final : public SpanSink {
 public:
  // Error: a certificate, file or directory that cannot be used.
  static Result<std::unique_ptr<Outputs>> open(const Config& config, DurationHistogram* export_duration);
  ~Outputs() override;

  void push(BatchPtr batch);
  // From any thread; only queues.
  void consume(std::shared_ptr<const SpanBatch> batch) override;
  // Waits until everything pushed so far was handed to the exporters and they have sent it, or the time is over.
  void flush(uint64_t timeout_ns);

  PrometheusExporter& newest() { return newest_; }
  const PrometheusExporter& newest() const { return newest_; }
  QueueStats queue() const { return queue_.stats(); }
  std::vector<ExportStats> stats() const;
  // The same with what a person wants to know; "newest", which is always there, is last.
  struct Report {
    ExportStats stats;
    std::string destination;
    std::string last_error;  // a sentence; empty after success
  };
  std::vector<Report> reports() const;
  // "otlp → http://localhost:4317", one per exporter, for the log.
  std::vector<std::string> destinations() const;
  std::vector<std::string> last_errors() const;

 private:
  explicit Outputs(const Config& config);
  void run();
  Result<void> open_spans(const Config& config);
  std::vector<const ExporterBase*> all() const;

  BatchQueue queue_;
  PrometheusExporter newest_;
  bool pulled_ = false;  // /metrics is one of the configured outputs
  std::vector<std::unique_ptr<Exporter>> exporters_;
  std::unique_ptr<FileExporter> spans_file_;  // spans go to a file to which metrics do not
  std::vector<std::unique_ptr<SpanExporter>> span_exporters_;
  DurationHistogram* export_duration_ = nullptr;
  std::atomic<uint64_t> handled_{0};
  std::thread thread_;
};

}  // namespace sonde
