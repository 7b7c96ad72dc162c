// SPDX-License-Identifier: Apache-2.0
// The newest value of every live series, put together from batches. Subjects come at their own periods, so one batch
// is only a part; a point with `no_recorded_value` ends its series. Readers take a snapshot and are not in the way of
// the next batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "agent/pipeline/batch.h"

namespace sonde {

// All live series of one Resource. Immutable.
struct ResourceSeries {
  ResourcePtr resource;
  uint64_t time_ns = 0;       // CLOCK_REALTIME of the batch that changed it last
  std::vector<Point> points;  // of one metric together; bucket_begin is an index into `buckets`
  std::vector<uint64_t> buckets;
};
using ResourceSeriesPtr = std::shared_ptr<const ResourceSeries>;

class PrometheusState {
 public:
  explicit PrometheusState(std::size_t max_series) : max_series_(max_series) {}

  // Returns how many points found no room.
  std::size_t update(const Batch& batch);
  std::vector<ResourceSeriesPtr> snapshot() const;  // by rising Resource::id
  std::size_t series() const;

 private:
  const std::size_t max_series_;
  mutable std::mutex mutex_;
  std::map<uint64_t, ResourceSeriesPtr> resources_;
  std::size_t series_ = 0;
};

}  // namespace sonde
