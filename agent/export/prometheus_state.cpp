// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_state.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "agent/base/check.h"
#include "agent/base/clock.h"
#include "agent/export/prometheus_series.h"

namespace sonde {
namespace {

using Standing = ResourceSeries::Standing;

struct SeriesKey {
  const MetricSpec* metric;
  const AttributeSet* attributes;
  bool operator==(const SeriesKey& other) const {
    return metric == other.metric && (attributes == other.attributes || *attributes == *other.attributes);
  }
};

struct SeriesKeyHash {
  std::size_t operator()(const SeriesKey& key) const {
    std::size_t hash = std::hash<const void*>()(key.metric);
    for (const Attribute& attribute : *key.attributes) {
      hash = hash * 31 + std::hash<std::string>()(attribute.key);
      hash = hash * 31 + std::hash<decltype(attribute.value)>()(attribute.value);
    }
    return hash;
  }
};

SeriesKey key_of(const Point& point) { return {point.metric, point.attributes.get()}; }

// Most batches carry the same series in the same order as the one before.
bool replaces_all(const ResourceSeries& old, const Point* points, std::size_t length) {
  if (!old.plain || old.points.size() != length) return false;
  for (std::size_t i = 0; i < length; i++) {
    if (points[i].no_recorded_value || points[i].begins) return false;
    if (points[i].start_ns != old.points[i].start_ns) return false;
    if (!(key_of(old.points[i]) == key_of(points[i]))) return false;
  }
  return true;
}

// The series of one Resource while a batch changes them.
class Change {
 public:
  Change(const ResourceSeries* old, const Batch& batch, uint32_t state, uint64_t now_ns)
      : batch_(batch), state_(state), now_ns_(now_ns) {
    if (!old) return;
    for (std::size_t i = 0; i < old->points.size(); i++) {
      Places& places = index_[key_of(old->points[i])];
      (old->standings[i].waits ? places.waiting : places.shown) = static_cast<int>(entries_.size());
      entries_.push_back({&old->points[i], &old->buckets, old->standings[i], old->state});
    }
  }

  void value(const Point& point) {
    Places& places = index_[key_of(point)];
    if (places.shown < 0) {
      places.shown = add(point, {.born = state_});
      return;
    }
    if (places.waiting >= 0) {
      Entry& waiting = entries_[static_cast<std::size_t>(places.waiting)];
      // A third life: what the second one counted was never shown.
      if (waiting.point->start_ns != point.start_ns) ++lost_;
      waiting.standing.ended = 0;
      return replace(waiting, point);
    }
    Entry& shown = entries_[static_cast<std::size_t>(places.shown)];
    if (shown.point->start_ns == point.start_ns) {
      shown.standing.ended = 0;
      return replace(shown, point);
    }
    if (!is_total(*point.metric)) {
      shown.standing = {.born = state_};
      return replace(shown, point);
    }
    end(shown);
    places.waiting = add(point, {.born = state_, .waits = true});
  }

  // Zeros here depend on who scrapes; what was away and comes back goes on from where it was.
  void begins(const Point& point) {
    if (!is_total(*point.metric) || (point.count == 0 && point.integer == 0 && point.real == 0)) return;
    Places& places = index_[key_of(point)];
    if (places.shown >= 0) return;  // it is still there
    const auto from = batch_.buckets.begin() + point.bucket_begin;
    auto made = std::make_shared<ResourceSeries::Beginning>();
    made->point = point;
    made->point.bucket_begin = 0;
    made->buckets.assign(from, from + point.bucket_length);
    places.shown = add(point, {.born = state_, .from = std::move(made)});
  }

  void mark(const Point& point) {
    const auto found = index_.find(key_of(point));
    if (found == index_.end() || found->second.shown < 0) return;
    const int which = found->second.waiting >= 0 ? found->second.waiting : found->second.shown;
    Entry& entry = entries_[static_cast<std::size_t>(which)];
    if (is_total(*point.metric)) return end(entry);
    entry.point = nullptr;
    found->second = {};
  }

  // In the batch's order, so that the next one finds it the same; what the batch does not speak of is put in by metric.
  std::shared_ptr<ResourceSeries> take() {
    std::erase_if(entries_, [](const Entry& entry) { return entry.point == nullptr; });
    std::ranges::stable_sort(entries_, {}, &Entry::rank);
    if (!entries_.empty() && entries_.back().rank == UINT32_MAX) {
      std::ranges::stable_sort(entries_, [](const Entry& a, const Entry& b) {
        return a.point->metric != b.point->metric && a.point->metric->name < b.point->metric->name;
      });
    }
    auto made = std::make_shared<ResourceSeries>();
    for (const Entry& entry : entries_) append(*made, *entry.point, *entry.buckets, entry.standing);
    return made;
  }
  uint64_t lost() const { return lost_; }

 private:
  struct Entry {
    const Point* point;
    const std::vector<uint64_t>* buckets;
    Standing standing;
    uint32_t state;              // that brought its value
    uint32_t rank = UINT32_MAX;  // place in the batch
  };
  struct Places {
    int shown = -1, waiting = -1;
  };

  int add(const Point& point, Standing standing) {
    entries_.push_back({&point, &batch_.buckets, standing, state_, next_++});
    return static_cast<int>(entries_.size()) - 1;
  }
  void replace(Entry& entry, const Point& point) {
    entry.point = &point;
    entry.buckets = &batch_.buckets;
    entry.state = state_;
    entry.rank = std::min(entry.rank, next_++);
  }
  void end(Entry& entry) const {
    if (entry.standing.ended != 0) return;
    entry.standing.ended = entry.state;
    entry.standing.ended_ns = now_ns_;
  }

  const Batch& batch_;
  const uint32_t state_;
  const uint64_t now_ns_;
  std::vector<Entry> entries_;
  std::unordered_map<SeriesKey, Places, SeriesKeyHash> index_;
  uint32_t next_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace

void append(ResourceSeries& to, const Point& point, const std::vector<uint64_t>& buckets, const Standing& standing) {
  Point copy = point;
  copy.bucket_begin = static_cast<uint32_t>(to.buckets.size());
  const auto from = buckets.begin() + point.bucket_begin;
  to.buckets.insert(to.buckets.end(), from, from + point.bucket_length);
  to.points.push_back(std::move(copy));
  to.standings.push_back(standing);
  to.youngest = std::max(to.youngest, standing.born);
  to.plain = to.plain && standing.plain();
}

std::size_t PrometheusState::update(const Batch& batch, uint64_t now_ns) {
  const MutexLock lock(mutex_);
  ++state_;
  if (values_since_ns_ == 0) values_since_ns_ = now_ns;
  std::size_t dropped = 0;
  for (const ResourcePoints& group : batch.resources) dropped += update_resource(batch, group, now_ns);
  prune(now_ns);
  return dropped;
}

std::size_t PrometheusState::update_resource(const Batch& batch, const ResourcePoints& group, uint64_t now_ns) {
  const Point* points = batch.points.data() + group.begin;
  const auto found = resources_.find(group.resource->id);
  const ResourceSeriesPtr old = found == resources_.end() ? nullptr : found->second;
  std::shared_ptr<ResourceSeries> made;
  uint64_t lost = 0;
  if (old && replaces_all(*old, points, group.length)) {
    made = std::make_shared<ResourceSeries>();
    made->points.reserve(group.length);
    made->buckets.reserve(old->buckets.size());
    made->standings.reserve(group.length);
    for (uint32_t i = 0; i < group.length; i++) append(*made, points[i], batch.buckets, old->standings[i]);
  } else {
    Change change(old.get(), batch, state_, now_ns);
    for (uint32_t i = 0; i < group.length; i++) {
      if (points[i].begins) {
        change.begins(points[i]);
      } else if (points[i].no_recorded_value) {
        change.mark(points[i]);
      } else {
        change.value(points[i]);
      }
    }
    made = change.take();
    lost = change.lost();
  }
  made->time_ns = batch.time_ns;
  made->state = state_;

  std::size_t dropped = 0;
  const std::size_t others = series_ - (old ? old->points.size() : 0);
  if (others + made->points.size() > max_series_) {
    if (!with_ended_.empty()) {  // what lives comes before what is over
      prune(now_ns, true);
      return update_resource(batch, group, now_ns);
    }
    const std::size_t room = max_series_ - std::min(others, max_series_);
    dropped = made->points.size() - room;
    made->points.resize(room);
    made->standings.resize(room);
  }
  unscraped_ += lost;
  put(group.resource, std::move(made));
  return dropped;
}

void PrometheusState::put(const ResourcePtr& resource, std::shared_ptr<ResourceSeries> made) {
  const auto old = resources_.find(resource->id);
  SONDE_CHECK(made->points.size() == made->standings.size());
  SONDE_CHECK(old == resources_.end() || series_ >= old->second->points.size());
  if (old != resources_.end()) series_ -= old->second->points.size();
  series_ += made->points.size();
  const bool ends = std::ranges::any_of(made->standings, [](const Standing& s) { return s.ended != 0; });
  if (ends) {
    with_ended_.insert(resource->id);
  } else {
    with_ended_.erase(resource->id);
  }
  made->resource = resource;
  if (made->points.empty()) {
    resources_.erase(resource->id);
  } else {
    resources_[resource->id] = std::move(made);
  }
}

// Null: all of it is still to be kept.
std::shared_ptr<ResourceSeries> PrometheusState::without_ended(const ResourceSeries& old, const Scrapers& before,
                                                               uint64_t now_ns, bool all) {
  std::vector<bool> gone(old.points.size());
  std::unordered_map<SeriesKey, bool, SeriesKeyHash> follows;
  for (std::size_t i = 0; i < gone.size(); i++) {
    const Standing& standing = old.standings[i];
    if (standing.ended == 0 || standing.waits) continue;
    const bool wanted = !scrapers_.had_all(standing.born, standing.ended);
    if (wanted && !all && now_ns < standing.ended_ns + scrapers_.patience_ns()) continue;
    gone[i] = true;
    follows[key_of(old.points[i])] = true;
    if (!before.had_all(standing.born, standing.ended)) ++unscraped_;  // also by one that came no more
  }
  if (follows.empty()) return nullptr;
  auto made = std::make_shared<ResourceSeries>();
  made->time_ns = old.time_ns;
  made->state = old.state;
  bool later = false;
  for (std::size_t i = 0; i < gone.size(); i++) {
    if (gone[i]) continue;
    Standing standing = old.standings[i];
    if (standing.waits && follows.contains(key_of(old.points[i]))) {
      // Its turn: it begins for all scrapers now, whatever they had of the life before.
      if (!later) ++state_;
      later = true;
      standing.waits = false;
      standing.born = state_;
      if (standing.ended != 0) {
        standing.ended = state_;
        standing.ended_ns = now_ns;
      }
      standing.floor_ns = served_ns_;
    }
    append(*made, old.points[i], old.buckets, standing);
  }
  return made;
}

void PrometheusState::prune(uint64_t now_ns, bool all) {
  if (with_ended_.empty()) return scrapers_.forget(now_ns);
  const Scrapers before = scrapers_;
  scrapers_.forget(now_ns);
  const std::vector<uint64_t> ids(with_ended_.begin(), with_ended_.end());
  for (const uint64_t id : ids) {
    const ResourceSeriesPtr old = resources_.at(id);
    if (auto made = without_ended(*old, before, now_ns, all)) put(old->resource, std::move(made));
  }
}

void PrometheusState::took(const Scrapers::Visit& visit, uint64_t now_ns) {
  const MutexLock lock(mutex_);
  prune(now_ns);
  scrapers_.took(visit);
  prune(now_ns);
}

PrometheusState::Look PrometheusState::look(const ScrapePeer* peer, uint64_t now_ns) {
  Look out;
  const MutexLock lock(mutex_);
  prune(now_ns);
  served_ns_ = realtime_ns();
  if (peer) out.visit = scrapers_.begin(*peer, state_, values_since_ns_, now_ns);
  out.series.reserve(resources_.size());
  for (const auto& [id, series] : resources_) {
    if (ResourceSeriesPtr seen = seen_by(series, out.visit.new_after)) out.series.push_back(std::move(seen));
  }
  return out;
}

std::vector<ResourceSeriesPtr> PrometheusState::snapshot() const {
  const MutexLock lock(mutex_);
  std::vector<ResourceSeriesPtr> out;
  out.reserve(resources_.size());
  for (const auto& [id, series] : resources_) {
    if (ResourceSeriesPtr living = living_of(series)) out.push_back(std::move(living));
  }
  return out;
}

std::size_t PrometheusState::series() const {
  const MutexLock lock(mutex_);
  return series_;
}

std::size_t PrometheusState::scrapers(uint64_t now_ns) {
  const MutexLock lock(mutex_);
  prune(now_ns);
  return scrapers_.count();
}

uint64_t PrometheusState::ended_unscraped() const {
  const MutexLock lock(mutex_);
  return unscraped_;
}

}  // namespace sonde
