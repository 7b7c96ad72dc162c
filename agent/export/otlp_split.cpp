// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_split.h"

#include <google/protobuf/io/coded_stream.h>

#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"

namespace sonde {
namespace {

using opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using opentelemetry::proto::metrics::v1::Metric;

template <typename Visit>
void with_points(Metric& metric, Visit visit) {
  switch (metric.data_case()) {
    case Metric::kGauge: return visit(*metric.mutable_gauge()->mutable_data_points());
    case Metric::kSum: return visit(*metric.mutable_sum()->mutable_data_points());
    case Metric::kHistogram: return visit(*metric.mutable_histogram()->mutable_data_points());
    case Metric::kExponentialHistogram: return visit(*metric.mutable_exponential_histogram()->mutable_data_points());
    default: return;
  }
}

uint32_t count_points(ExportMetricsServiceRequest& request) {
  uint32_t count = 0;
  for (auto& rm : *request.mutable_resource_metrics()) {
    for (auto& sm : *rm.mutable_scope_metrics()) {
      for (auto& metric : *sm.mutable_metrics()) {
        with_points(metric, [&](auto& points) { count += static_cast<uint32_t>(points.size()); });
      }
    }
  }
  return count;
}

// Leaves the points [from, to), counted over the whole request, and nothing that is empty without them.
void keep(ExportMetricsServiceRequest& request, uint32_t from, uint32_t to) {
  uint32_t at = 0;
  auto* resources = request.mutable_resource_metrics();
  for (int r = 0; r < resources->size();) {
    bool any_in_resource = false;
    for (auto& sm : *resources->Mutable(r)->mutable_scope_metrics()) {
      auto* metrics = sm.mutable_metrics();
      for (int m = 0; m < metrics->size();) {
        int left = 0;
        with_points(*metrics->Mutable(m), [&](auto& points) {
          const auto size = static_cast<uint32_t>(points.size());
          const uint32_t first = std::min(size, from > at ? from - at : 0);
          const uint32_t last = std::min(size, to > at ? to - at : 0);
          points.DeleteSubrange(static_cast<int>(last), static_cast<int>(size - last));
          points.DeleteSubrange(0, static_cast<int>(std::min(first, last)));
          at += size;
          left = points.size();
        });
        if (left == 0) {
          metrics->DeleteSubrange(m, 1);
        } else {
          m++;
        }
      }
      any_in_resource = any_in_resource || !metrics->empty();
    }
    if (any_in_resource) {
      r++;
    } else {
      resources->DeleteSubrange(r, 1);
    }
  }
}

// The number of points at which to cut: between two resources where that leaves both sides something near the middle.
uint32_t middle(const ExportMetricsServiceRequest& request, uint32_t total) {
  uint32_t at = 0;
  uint32_t best = total / 2;
  uint32_t distance = total / 4;
  for (const auto& rm : request.resource_metrics()) {
    ExportMetricsServiceRequest one;
    *one.add_resource_metrics() = rm;
    at += count_points(one);
    const uint32_t off = at > total / 2 ? at - total / 2 : total / 2 - at;
    if (at < total && off <= distance) {
      best = at;
      distance = off;
    }
  }
  return best;
}

// Calls visit(begin, end) for the bytes of each field of the outermost message, tags included. False: not a request.
template <typename Visit>
bool for_each_resource(const std::string& bytes, Visit visit) {
  const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
  google::protobuf::io::CodedInputStream in(data, static_cast<int>(bytes.size()));
  while (in.CurrentPosition() < static_cast<int>(bytes.size())) {
    const int begin = in.CurrentPosition();
    uint32_t length = 0;
    constexpr uint32_t kResourceMetrics = 1 << 3 | 2;
    if (in.ReadTag() != kResourceMetrics || !in.ReadVarint32(&length) || !in.Skip(static_cast<int>(length))) return false;
    visit(static_cast<size_t>(begin), static_cast<size_t>(in.CurrentPosition()));
  }
  return true;
}

uint32_t points_of(const std::string& bytes) {
  ExportMetricsServiceRequest request;
  return request.ParseFromString(bytes) ? count_points(request) : 0;
}

}  // namespace

uint32_t count_resources(const std::string& bytes) {
  uint32_t count = 0;
  return for_each_resource(bytes, [&](size_t, size_t) { count++; }) ? count : 0;
}

std::vector<EncodedRequest> split_resources(const std::string& bytes) {
  std::vector<size_t> ends;
  if (!for_each_resource(bytes, [&](size_t, size_t end) { ends.push_back(end); }) || ends.size() < 2) return {};
  const size_t cut = ends[ends.size() / 2 - 1];
  EncodedRequest first{bytes.substr(0, cut), 0}, second{bytes.substr(cut), 0};
  first.points = points_of(first.bytes);
  second.points = points_of(second.bytes);
  return {std::move(first), std::move(second)};
}

std::vector<EncodedRequest> split_request(const std::string& bytes) {
  ExportMetricsServiceRequest request;
  if (!request.ParseFromString(bytes)) return {};
  const uint32_t total = count_points(request);
  if (total < 2) return {};
  const uint32_t cut = middle(request, total);
  ExportMetricsServiceRequest second = request;
  keep(request, 0, cut);
  keep(second, cut, total);
  return {{request.SerializeAsString(), cut}, {second.SerializeAsString(), total - cut}};
}

}  // namespace sonde
