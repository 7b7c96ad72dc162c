// SPDX-License-Identifier: Apache-2.0
// /metrics: keeps the newest value of every live series and renders it on scrape, in the format the scraper asks for:
// text 0.0.4, OpenMetrics 1.0, or delimited protobuf with native histograms. Formats and names: docs/ops/prometheus.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/export/exporter.h"
#include "agent/export/prometheus_state.h"

namespace sonde {

struct PrometheusOptions {
  bool legacy_names = false;             // prometheus.naming: legacy. Also the names of the tools that Sonde replaces
  bool created = true;                   // _created samples in OpenMetrics; protobuf always carries the start time
  std::size_t max_series = 100'000;      // beyond it new series are dropped and counted
  std::string destination = "/metrics";  // for the start-up log: http://[::]:18080/metrics
  std::function<uint64_t()> clock;       // CLOCK_BOOTTIME in nanoseconds; for tests
};

// The headers' values are empty if absent.
struct ScrapeRequest {
  std::string_view accept;
  std::string_view accept_encoding;
  const ScrapePeer* peer = nullptr;  // null: nobody who is followed; all values as they are
};

struct Exposition {
  std::string content_type;
  std::string content_encoding;  // "gzip" or empty
  std::string body;
  Scrapers::Visit visit;  // for delivered()
};

class PrometheusExporter : public Exporter {
 public:
  explicit PrometheusExporter(PrometheusOptions options = {});

  std::string_view name() const override { return "prometheus"; }
  std::string destination() const override { return options_.destination; }
  void push(BatchPtr batch) override;
  void flush(uint64_t) override {}  // nothing waits: it is pulled
  // points_sent: samples rendered; failures["duplicate"]: series left out because an other one had the same labels.
  ExporterStats stats() const override;

  // Both from any thread. What a scraper had counts only once it has left: delivered().
  Exposition render(const ScrapeRequest& request);
  void delivered(const Scrapers::Visit& visit) { state_.took(visit, now()); }

  // The same newest values for other faces (gRPC, reports).
  std::vector<ResourceSeriesPtr> snapshot() const { return state_.snapshot(); }

 private:
  uint64_t now() const;

  const PrometheusOptions options_;
  mutable PrometheusState state_;
  mutable Mutex stats_mutex_;
  mutable ExporterStats stats_ SONDE_GUARDED_BY(stats_mutex_);
};

}  // namespace sonde
