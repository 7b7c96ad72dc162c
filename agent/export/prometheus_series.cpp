// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_series.h"

#include <algorithm>

namespace sonde {
namespace {

std::shared_ptr<ResourceSeries> empty_copy(const ResourceSeries& series) {
  auto made = std::make_shared<ResourceSeries>();
  made->resource = series.resource;
  made->time_ns = series.time_ns;
  made->state = series.state;
  return made;
}

}  // namespace

ResourceSeriesPtr seen_by(const ResourceSeriesPtr& series, uint32_t new_after) {
  if (series->plain && series->youngest <= new_after) return series;
  auto made = empty_copy(*series);
  for (std::size_t i = 0; i < series->points.size(); i++) {
    const ResourceSeries::Standing& standing = series->standings[i];
    if (standing.waits) continue;
    Point point = series->points[i];
    const std::vector<uint64_t>* buckets = &series->buckets;
    if (standing.born > new_after && standing.from) {
      point = standing.from->point;
      buckets = &standing.from->buckets;
    } else if (standing.born > new_after && is_total(*point.metric)) {
      point.integer = 0;
      point.real = 0;
      point.count = 0;
      point.bucket_length = 0;
    }
    if (point.start_ns) point.start_ns = std::max(point.start_ns, standing.floor_ns);
    append(*made, point, *buckets, standing);
  }
  return made->points.empty() ? nullptr : made;
}

ResourceSeriesPtr living_of(const ResourceSeriesPtr& series) {
  if (series->plain) return series;
  auto made = empty_copy(*series);
  for (std::size_t i = 0; i < series->points.size(); i++) {
    if (series->standings[i].ended == 0) append(*made, series->points[i], series->buckets, series->standings[i]);
  }
  return made->points.empty() ? nullptr : made;
}

}  // namespace sonde
