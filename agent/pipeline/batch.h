// SPDX-License-Identifier: Apache-2.0
// The output of the pipeline: the points of one collection, ready to be encoded. Immutable once queued, and shared by all
// exporters; flat, so that 40,000 points do not need 40,000 allocations.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "agent/module/metric.h"

namespace sonde {

struct Attribute {
  std::string key;
  std::variant<std::string, int64_t, bool> value;
  friend bool operator==(const Attribute&, const Attribute&) = default;
};
using AttributeSet = std::vector<Attribute>;  // sorted by key
using AttributeSetPtr = std::shared_ptr<const AttributeSet>;

// OTLP Resource. `id` is unique per stream: a changed label makes a new Resource with a new id, and a new
// service.instance.id. A Resource may be in a batch twice: with the last values of its series, then with their end marks.
struct Resource {
  uint64_t id = 0;
  AttributeSet attributes;
  // Attributes that are also put on every series of /metrics and, with export.promote, on OTLP points:
  // cluster, node, workload, namespace, pod, container, selected labels.
  AttributeSet promoted;
};
using ResourcePtr = std::shared_ptr<const Resource>;

// Minimum distance of two points of a series, in ns: Prometheus has millisecond resolution. A point at the start time
// itself would mean that the start is unknown (OTLP).
inline constexpr uint64_t kPointStep = 1'000'000;

struct Point {
  const MetricSpec* metric = nullptr;  // static
  AttributeSetPtr attributes;          // never null
  uint64_t start_ns = 0;               // CLOCK_REALTIME; of the stream; sums and histograms
  uint64_t time_ns = 0;                // CLOCK_REALTIME; of the collection
  bool no_recorded_value = false;      // the stream has ended: OTLP flag 1, value unused
  // Starting point of the series, before its first value in the same batch: 0, or the earlier total if it resumes after
  // its end mark. For readers of cumulative values, which cannot otherwise see the increase of a first value.
  bool begins = false;
  // Sums and gauges: one of these, by metric->integer. Histograms: `real` is the sum in the metric's unit.
  int64_t integer = 0;
  double real = 0;
  // Histograms: dense run of counts in Batch::buckets; element i is OTLP index bucket_offset + i, scale 2.
  uint64_t count = 0;
  int32_t bucket_offset = 0;
  uint32_t bucket_begin = 0;
  uint32_t bucket_length = 0;
};

struct ResourcePoints {
  ResourcePtr resource;
  uint32_t begin = 0;   // into Batch::points
  uint32_t length = 0;  // sorted by metric: points of one metric are adjacent
};

struct Batch {
  uint64_t time_ns = 0;  // CLOCK_REALTIME
  std::vector<ResourcePoints> resources;
  std::vector<Point> points;
  std::vector<uint64_t> buckets;
};
using BatchPtr = std::shared_ptr<const Batch>;

}  // namespace sonde
