// SPDX-License-Identifier: Apache-2.0
// What `sonde top` shows of two moments: rates and latencies in between, one row per subject.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/cli/top_columns.h"
#include "agent/export/prometheus_state.h"

namespace sonde::cli {

struct TopRow {
  std::string name;            // namespace/pod/container, container id, or cgroup
  std::vector<double> values;  // by column; negative: none in the interval (a quantile)
};

// Sums that are compared from one moment to the next.
struct TopMoment {
  struct Cell {
    double number = 0;                    // of sums and gauges
    uint64_t count = 0;                   // of histograms
    std::map<int32_t, uint64_t> buckets;  // OTLP index, scale 2
  };
  struct Subject {
    std::string name;
    std::vector<Cell> cells;  // by column
  };
  std::map<uint64_t, Subject> subjects;  // by Resource::id
};

TopMoment moment_of(const std::vector<ResourceSeriesPtr>& series, const std::vector<TopColumn>& columns);
// Rows of subjects that did anything, sorted descending by a column (kByName: by name, ascending).
std::vector<TopRow> rows_between(const TopMoment& before, const TopMoment& after, double seconds,
                                 const std::vector<TopColumn>& columns, std::size_t by);
// Upper bound in seconds of the bucket with the quantile; negative if there is nothing.
double quantile(const TopMoment::Cell& before, const TopMoment::Cell& after, double q);

}  // namespace sonde::cli
