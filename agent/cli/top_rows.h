// SPDX-License-Identifier: Apache-2.0
// What `sonde top` shows of two moments: rates and latencies in between, one row per subject.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/export/prometheus_state.h"

namespace sonde::cli {

enum class TopColumn : uint8_t { Name, Read, Write, Operations, OperationP99, Errors, Waits, WaitP99 };

struct TopRow {
  std::string name;           // namespace/pod/container, container id, or cgroup
  double read = 0;            // bytes per second
  double write = 0;
  double operations = 0;      // read, write, fsync on files per second
  double operation_p99 = -1;  // seconds; negative: none in the interval
  double errors = 0;
  double waits = 0;           // run-queue waits per second
  double wait_p99 = -1;
};

// Sums that are compared from one moment to the next.
struct TopMoment {
  struct Histogram {
    uint64_t count = 0;
    std::map<int32_t, uint64_t> buckets;  // OTLP index, scale 2
  };
  struct Subject {
    std::string name;
    double read = 0, write = 0, errors = 0;
    Histogram operations, waits;
  };
  std::map<uint64_t, Subject> subjects;  // by Resource::id
};

TopMoment moment_of(const std::vector<ResourceSeriesPtr>& series);
// Rows of subjects that did anything, sorted descending by `by` (names ascending).
std::vector<TopRow> rows_between(const TopMoment& before, const TopMoment& after, double seconds, TopColumn by);
// Upper bound in seconds of the bucket with the quantile; negative if there is nothing.
double quantile(const TopMoment::Histogram& before, const TopMoment::Histogram& after, double q);

}  // namespace sonde::cli
