// SPDX-License-Identifier: Apache-2.0
// One Resource's series as one reader is to see them.
#pragma once

#include "agent/export/prometheus_state.h"

namespace sonde {

// Counters and histograms: what a reader takes differences of.
inline bool is_total(const MetricSpec& metric) {
  return metric.instrument == Instrument::Counter || metric.instrument == Instrument::Histogram;
}

void append(ResourceSeries& to, const Point& point, const std::vector<uint64_t>& buckets,
            const ResourceSeries::Standing& standing);

// Totals that began after the state `new_after` are 0; lives that wait are left out. The same object where nothing is to
// be changed, null where nothing is left.
ResourceSeriesPtr seen_by(const ResourceSeriesPtr& series, uint32_t new_after);

// What goes on: the newest life of each series.
ResourceSeriesPtr living_of(const ResourceSeriesPtr& series);

}  // namespace sonde
