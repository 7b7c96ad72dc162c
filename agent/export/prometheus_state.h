// SPDX-License-Identifier: Apache-2.0
// The newest value of every series, put together from batches. Subjects come at their own periods, so one batch is only a
// part; a point with `no_recorded_value` ends its series. Readers take a snapshot and are not in the way of the next batch.
//
// For scrapers (scrapers.h) a counter or histogram has three parts: what it begins with, at the first visit after it
// began (0, or its earlier total if it ended and came back), its values, and after its end its last value until each
// scraper has had it. Another life of the same series waits for that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/export/scrapers.h"
#include "agent/pipeline/batch.h"

namespace sonde {

// All series of one Resource. Immutable.
struct ResourceSeries {
  // What a series that came back begins with.
  struct Beginning {
    Point point;
    std::vector<uint64_t> buckets;
  };
  // What a point is to scrapers; one per point, in the same order.
  struct Standing {
    uint32_t born = 0;      // number of the state it came with
    uint32_t ended = 0;     // the state with its last value; 0: it goes on
    uint64_t ended_ns = 0;  // CLOCK_BOOTTIME
    uint64_t floor_ns = 0;  // CLOCK_REALTIME when an earlier life was served last: `_created` is never before
    bool waits = false;     // a later life of the series whose last value is still to be fetched
    std::shared_ptr<const Beginning> from{};  // null: it begins with 0
    bool plain() const { return ended == 0 && !waits && floor_ns == 0; }
  };
  ResourcePtr resource;
  uint64_t time_ns = 0;       // CLOCK_REALTIME of the batch that changed it last
  uint32_t state = 0;         // its number
  std::vector<Point> points;  // of one metric together; bucket_begin is an index into `buckets`
  std::vector<uint64_t> buckets;
  std::vector<Standing> standings;
  uint32_t youngest = 0;  // the latest `born`
  bool plain = true;      // all standings are
};
using ResourceSeriesPtr = std::shared_ptr<const ResourceSeries>;

class PrometheusState {
 public:
  explicit PrometheusState(std::size_t max_series) : max_series_(max_series) {}

  // Returns how many points found no room. `now_ns`: CLOCK_BOOTTIME.
  std::size_t update(const Batch& batch, uint64_t now_ns);
  // What goes on, at its newest value; by rising Resource::id.
  std::vector<ResourceSeriesPtr> snapshot() const;

  // What a request is answered; without a peer all values as they are. took() when the answer has left.
  struct Look {
    std::vector<ResourceSeriesPtr> series;
    Scrapers::Visit visit;
  };
  Look look(const ScrapePeer* peer, uint64_t now_ns);
  void took(const Scrapers::Visit& visit, uint64_t now_ns);

  std::size_t series() const;
  std::size_t scrapers(uint64_t now_ns);
  uint64_t ended_unscraped() const;  // series that were not kept until every scraper had their last value

 private:
  std::size_t update_resource(const Batch& batch, const ResourcePoints& group, uint64_t now_ns) SONDE_REQUIRES(mutex_);
  void prune(uint64_t now_ns, bool all = false) SONDE_REQUIRES(mutex_);
  std::shared_ptr<ResourceSeries> without_ended(const ResourceSeries& old, const Scrapers& before, uint64_t now_ns,
                                                bool all) SONDE_REQUIRES(mutex_);
  void put(const ResourcePtr& resource, std::shared_ptr<ResourceSeries> made) SONDE_REQUIRES(mutex_);

  const std::size_t max_series_;
  mutable Mutex mutex_;
  std::map<uint64_t, ResourceSeriesPtr> resources_ SONDE_GUARDED_BY(mutex_);
  std::set<uint64_t> with_ended_ SONDE_GUARDED_BY(mutex_);  // Resources that have series to be fetched before they go
  std::size_t series_ SONDE_GUARDED_BY(mutex_) = 0;
  Scrapers scrapers_ SONDE_GUARDED_BY(mutex_);
  uint32_t state_ SONDE_GUARDED_BY(mutex_) = 0;
  uint64_t values_since_ns_ SONDE_GUARDED_BY(mutex_) = 0;
  uint64_t served_ns_ SONDE_GUARDED_BY(mutex_) = 0;  // CLOCK_REALTIME of the last look
  uint64_t unscraped_ SONDE_GUARDED_BY(mutex_) = 0;
};

}  // namespace sonde
