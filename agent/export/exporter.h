// SPDX-License-Identifier: Apache-2.0
// The interface of exporters: of metrics, which are only called from the export thread, one batch at a time, and of spans, which
// take them from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "agent/pipeline/batch.h"
#include "agent/pipeline/span.h"

namespace sonde {

// Counted since the start; exported as metrics about the agent, shown by `sonde status`.
struct ExporterStats {
  uint64_t batches = 0;
  uint64_t points_sent = 0;
  uint64_t points_rejected = 0;    // partial success: rejected by the receiver
  uint64_t points_dropped = 0;     // not retryable, too old, or the queue was full
  uint64_t points_superseded = 0;  // replaced by a newer point of the same stream before they were sent: totals stay
                                   // correct, resolution is lost
  uint64_t spans_sent = 0;
  uint64_t spans_rejected = 0;                    // partial success
  std::map<std::string, uint64_t> spans_dropped;  // by reason: queue_full, refused, too_large, retried_too_long, exit, …
  uint64_t retries = 0;
  uint64_t halved = 0;           // rejected requests that were split and sent again
  uint64_t scrapers = 0;         // clients that scrape /metrics repeatedly
  uint64_t ended_unscraped = 0;  // series of /metrics removed before every scraper had their last value
  uint64_t bytes_sent = 0;       // of requests, before gRPC's compression; over HTTP after gzip
  uint64_t queued_batches = 0;
  uint64_t queued_bytes = 0;
  uint64_t queued_spans = 0;
  std::map<std::string, uint64_t> failures;  // by code: UNAVAILABLE, http_503, tls, …
  std::string last_error;                    // empty after success
};

class ExporterBase {
 public:
  virtual ~ExporterBase() = default;
  virtual std::string_view name() const = 0;    // otlp, prometheus, file; of spans: otlp_traces, file_traces
  virtual std::string destination() const = 0;  // for the startup log
  // Sends queued data, for at most this long. Called at the end and on flush.
  virtual void flush(uint64_t timeout_ns) = 0;
  virtual ExporterStats stats() const = 0;
};

class Exporter : public ExporterBase {
 public:
  // Takes the batch and returns quickly: what cannot be sent now is queued, bounded and counted.
  virtual void push(BatchPtr batch) = 0;
};

// consume() only queues: it waits for no receiver and no disk. What has no room is dropped, the oldest first, and counted.
class SpanExporter : public ExporterBase, public SpanSink {};

}  // namespace sonde
