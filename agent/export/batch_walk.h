// SPDX-License-Identifier: Apache-2.0
// The one walk over a Batch that both OTLP forms share: resources, metrics, points, and where to cut when a request is
// full. A writer gets each opening and closing, and can be reset to an earlier size.
#pragma once

#include <cstdint>

#include "agent/pipeline/batch.h"

namespace sonde {

// The next point to be written.
struct BatchCursor {
  uint32_t resource = 0;  // into Batch::resources
  uint32_t point = 0;     // from that resource's begin on
  friend bool operator==(const BatchCursor&, const BatchCursor&) = default;
};

inline bool at_end(const Batch& batch, const BatchCursor& at) { return at.resource >= batch.resources.size(); }

// Calls visit(resource, point) for the points in [from, to).
template <typename Visit>
void for_each_point(const Batch& batch, BatchCursor from, const BatchCursor& to, Visit visit) {
  for (; from.resource < batch.resources.size() && from.resource <= to.resource; from.resource++, from.point = 0) {
    const ResourcePoints& range = batch.resources[from.resource];
    const uint32_t end = from.resource == to.resource ? to.point : range.length;
    for (; from.point < end; from.point++) visit(*range.resource, batch.points[range.begin + from.point]);
  }
}

// Behind the next `points` points that are written, from `at` on.
inline BatchCursor behind(const Batch& batch, BatchCursor at, uint32_t points) {
  for (; at.resource < batch.resources.size(); at.resource++, at.point = 0) {
    const ResourcePoints& range = batch.resources[at.resource];
    for (; at.point < range.length; at.point++) {
      if (batch.points[range.begin + at.point].metric == nullptr) continue;
      if (points == 0) return at;
      points--;
    }
  }
  return at;
}

// Writes points from `at` on until everything is written or one more would make the request longer than `max_bytes`,
// and moves `at`. At least one point is written, whatever its size. Points without a metric are passed over.
// Returns how many were written; 0: there was nothing left.
//
// Writer: size(), truncate(size), closing_bytes() (upper limit of what the open levels still add),
// open_resource(Resource), close_resource(), open_metric(MetricSpec), point(Batch, Point), close_metric().
template <typename Writer>
uint32_t write_points(Writer& writer, const Batch& batch, BatchCursor& at, uint64_t max_bytes) {
  uint32_t written = 0;
  for (; at.resource < batch.resources.size(); at.resource++, at.point = 0) {
    const ResourcePoints& range = batch.resources[at.resource];
    const Point* const points = batch.points.data() + range.begin;
    const uint64_t resource_start = writer.size();
    uint32_t in_resource = 0;
    bool open = false;
    while (at.point < range.length) {
      const MetricSpec* const metric = points[at.point].metric;
      if (metric == nullptr) {
        at.point++;
        continue;
      }
      if (!open) writer.open_resource(*range.resource);
      open = true;
      const uint64_t metric_start = writer.size();
      uint32_t in_metric = 0;
      writer.open_metric(*metric);
      for (; at.point < range.length; at.point++) {
        const Point& point = points[at.point];
        if (point.metric == nullptr) continue;
        if (point.metric != metric) break;
        const uint64_t point_start = writer.size();
        writer.point(batch, point);
        if (writer.size() + writer.closing_bytes() > max_bytes && written > 0) {
          writer.truncate(in_metric > 0 ? point_start : in_resource > 0 ? metric_start : resource_start);
          if (in_metric > 0) writer.close_metric();
          if (in_resource > 0) writer.close_resource();
          return written;
        }
        written++;
        in_metric++;
        in_resource++;
      }
      writer.close_metric();
    }
    if (open) writer.close_resource();
  }
  return written;
}

}  // namespace sonde
