// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_exporter.h"

#include <utility>

#include "agent/base/clock.h"
#include "agent/export/gzip.h"
#include "agent/export/prometheus_format.h"

namespace sonde {

PrometheusExporter::PrometheusExporter(PrometheusOptions options)
    : options_(std::move(options)), state_(options_.max_series) {}

uint64_t PrometheusExporter::now() const { return options_.clock ? options_.clock() : boottime_ns(); }

void PrometheusExporter::push(BatchPtr batch) {
  std::size_t dropped = state_.update(*batch, now());
  const MutexLock lock(stats_mutex_);
  stats_.batches++;
  stats_.points_dropped += dropped;
  stats_.last_error = dropped == 0
                          ? ""
                          : "More than " + std::to_string(options_.max_series) + " series: " + std::to_string(dropped) +
                                " were left out; lower limits.seriesPerNode or the level in the policies";
}

ExporterStats PrometheusExporter::stats() const {
  const MutexLock lock(stats_mutex_);
  ExporterStats stats = stats_;
  stats.scrapers = state_.scrapers(now());
  stats.ended_unscraped = state_.ended_unscraped();
  return stats;
}

Exposition PrometheusExporter::render(const ScrapeRequest& request) {
  PrometheusState::Look look = state_.look(request.peer, now());
  PrometheusFamilies families(std::move(look.series), options_.legacy_names);
  Negotiated negotiated = negotiate_format(request.accept);
  Exposition out;
  out.visit = look.visit;
  out.content_type = std::move(negotiated.content_type);
  switch (negotiated.format) {
    case PrometheusFormat::Text: out.body = render_text(families); break;
    case PrometheusFormat::OpenMetrics: out.body = render_openmetrics(families, options_.created); break;
    case PrometheusFormat::Protobuf: out.body = render_protobuf(families); break;
  }
  if (accepts_gzip(request.accept_encoding)) {
    Result<std::string> packed = gzip(out.body);
    if (packed) {
      out.body = std::move(*packed);
      out.content_encoding = "gzip";
    }
  }
  std::size_t samples = 0;
  for (const auto& [name, family] : families.families()) samples += family.samples.size();
  const MutexLock lock(stats_mutex_);
  stats_.points_sent += samples;
  stats_.bytes_sent += out.body.size();
  if (families.duplicates() > 0) stats_.failures["duplicate"] += families.duplicates();
  return out;
}

}  // namespace sonde
