// SPDX-License-Identifier: Apache-2.0
// What leaves the pipeline: the points of one collection, ready to be encoded. Immutable once queued and shared by all
// exporters; flat, so that 40,000 points cost no 40,000 allocations.
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

// OTLP Resource. `id` is unique for a stream of numbers: a changed label makes a new Resource with a new id, and a new
// service.instance.id. A Resource may be in a batch twice: with the last values of its series, then with their end marks.
struct Resource {
  uint64_t id = 0;
  AttributeSet attributes;
  // Attributes that are also put on every series of /metrics and, where export.promote asks, on OTLP points:
  // cluster, node, workload, namespace, pod, container, chosen labels.
  AttributeSet promoted;
};
using ResourcePtr = std::shared_ptr<const Resource>;

// Between two points of one series, in ns: Prometheus tells them apart by milliseconds. A point at the start itself would
// say that the start is not known (OTLP).
inline constexpr uint64_t kPointStep = 1'000'000;

struct Point {
  const MetricSpec* metric = nullptr;  // static
  AttributeSetPtr attributes;          // never null
  uint64_t start_ns = 0;               // CLOCK_REALTIME; of the stream; sums and histograms
  uint64_t time_ns = 0;                // CLOCK_REALTIME; of the collection
  bool no_recorded_value = false;      // the stream ended: OTLP flag 1, value unused
  // What the series begins with, before its first value in the same batch: 0, or, of one that comes back after its end
  // mark, its earlier total. For readers of cumulative values, who could not tell a first value from one that was always there.
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
  uint32_t length = 0;  // sorted by metric: points of one metric stand together
};

struct Batch {
  uint64_t time_ns = 0;  // CLOCK_REALTIME
  std::vector<ResourcePoints> resources;
  std::vector<Point> points;
  std::vector<uint64_t> buckets;
};
using BatchPtr = std::shared_ptr<const Batch>;

}  // namespace sonde
