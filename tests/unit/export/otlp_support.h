// SPDX-License-Identifier: Apache-2.0
// Batches made by hand.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/pipeline/batch.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"

namespace sonde::test {

namespace pb {
using namespace opentelemetry::proto::collector::metrics::v1;  // NOLINT
using namespace opentelemetry::proto::metrics::v1;             // NOLINT
using namespace opentelemetry::proto::common::v1;              // NOLINT
}  // namespace pb

inline const MetricSpec kBytesRead{.name = "sonde.file.io", .unit = "By", .description = "Bytes moved"};
inline const MetricSpec kOperations{.name = "sonde.test.operations", .unit = "{operation}"};
inline const MetricSpec kSeconds{.name = "sonde.thread.time", .unit = "s", .integer = false};
inline const MetricSpec kOpen{
    .name = "sonde.file.open_descriptors", .unit = "{file}", .instrument = Instrument::UpDownCounter};
inline const MetricSpec kDepth{
    .name = "sonde.block.queue.depth", .unit = "{operation}", .instrument = Instrument::Gauge};
inline const MetricSpec kDuration{.name = "sonde.file.operation.duration",
                                  .unit = "s",
                                  .instrument = Instrument::Histogram,
                                  .description = "How long",
                                  .integer = false};

inline constexpr uint64_t kStart = 1'700'000'000'000'000'000;
inline constexpr uint64_t kPeriod = 30'000'000'000;

inline AttributeSetPtr attributes(AttributeSet set = {}) {
  return std::make_shared<const AttributeSet>(std::move(set));
}

inline ResourcePtr resource(uint64_t id, std::string pod = "postgres-0") {
  Resource made{.id = id,
                .attributes = {{"k8s.container.restart_count", int64_t{3}},
                               {"k8s.pod.name", pod},
                               {"service.name", std::string("sonde")}},
                .promoted = {{"k8s.pod.name", pod}, {"k8s.namespace.name", std::string("prod")}}};
  return std::make_shared<const Resource>(std::move(made));
}

class BatchBuilder {
 public:
  explicit BatchBuilder(uint64_t time_ns = kStart + kPeriod) { batch_.time_ns = time_ns; }

  BatchBuilder& on(ResourcePtr resource) {
    batch_.resources.push_back({std::move(resource), static_cast<uint32_t>(batch_.points.size()), 0});
    return *this;
  }
  BatchBuilder& sum(const MetricSpec& metric, AttributeSetPtr set, int64_t value, uint64_t start = kStart) {
    Point point = make(metric, std::move(set), start);
    point.integer = value;
    return add(point);
  }
  // What a series begins with, at a time of its own.
  BatchBuilder& begins(const MetricSpec& metric, AttributeSetPtr set, int64_t value, uint64_t time_ns) {
    Point point = make(metric, std::move(set), kStart);
    point.time_ns = time_ns;
    point.integer = value;
    point.begins = true;
    return add(point);
  }
  BatchBuilder& real(const MetricSpec& metric, AttributeSetPtr set, double value, uint64_t start = kStart) {
    Point point = make(metric, std::move(set), start);
    point.real = value;
    return add(point);
  }
  BatchBuilder& histogram(const MetricSpec& metric, AttributeSetPtr set, int32_t offset,
                          const std::vector<uint64_t>& counts, double sum, uint64_t start = kStart) {
    Point point = make(metric, std::move(set), start);
    point.real = sum;
    point.bucket_offset = offset;
    point.bucket_begin = static_cast<uint32_t>(batch_.buckets.size());
    point.bucket_length = static_cast<uint32_t>(counts.size());
    for (uint64_t count : counts) point.count += count;
    batch_.buckets.insert(batch_.buckets.end(), counts.begin(), counts.end());
    return add(point);
  }
  BatchBuilder& end(const MetricSpec& metric, AttributeSetPtr set, uint64_t start = kStart) {
    Point point = make(metric, std::move(set), start);
    point.no_recorded_value = true;
    return add(point);
  }
  BatchPtr build() { return std::make_shared<const Batch>(batch_); }

 private:
  Point make(const MetricSpec& metric, AttributeSetPtr set, uint64_t start) const {
    Point point;
    point.metric = &metric;
    point.attributes = std::move(set);
    point.start_ns = start;
    point.time_ns = batch_.time_ns;
    return point;
  }
  BatchBuilder& add(const Point& point) {
    batch_.points.push_back(point);
    batch_.resources.back().length++;
    return *this;
  }

  Batch batch_;
};

// `count` sums on each of `resources` resources.
inline BatchPtr many_sums(uint32_t resources, uint32_t count, int64_t value = 1, uint64_t time_ns = kStart + kPeriod) {
  BatchBuilder builder(time_ns);
  for (uint32_t r = 0; r < resources; r++) {
    builder.on(resource(r + 1, "pod-" + std::to_string(r)));
    for (uint32_t i = 0; i < count; i++) {
      builder.sum(kOperations, attributes({{"number", static_cast<int64_t>(i)}}), value);
    }
  }
  return builder.build();
}

inline pb::ExportMetricsServiceRequest parsed(const std::string& bytes) {
  pb::ExportMetricsServiceRequest request;
  if (!request.ParseFromString(bytes)) throw std::runtime_error("not an ExportMetricsServiceRequest");
  return request;
}

// All number points of a request, in order, as (resource's pod, metric, attributes, value) texts.
inline std::vector<std::string> number_points(const pb::ExportMetricsServiceRequest& request) {
  std::vector<std::string> out;
  for (const auto& rm : request.resource_metrics()) {
    std::string pod;
    for (const auto& kv : rm.resource().attributes()) {
      if (kv.key() == "k8s.pod.name") pod = kv.value().string_value();
    }
    for (const auto& sm : rm.scope_metrics()) {
      for (const auto& metric : sm.metrics()) {
        const auto& points = metric.has_gauge() ? metric.gauge().data_points() : metric.sum().data_points();
        for (const auto& p : points) {
          std::string text = pod + " " + metric.name();
          for (const auto& kv : p.attributes()) {
            text += " " + kv.key() + "=" +
                    (kv.value().has_int_value() ? std::to_string(kv.value().int_value()) : kv.value().string_value());
          }
          out.push_back(text + " " + (p.flags() & 1 ? std::string("end") : std::to_string(p.as_int())));
        }
      }
    }
  }
  return out;
}

}  // namespace sonde::test
