// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_state.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_set>

namespace sonde {
namespace {

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

void append(ResourceSeries& to, const Point& point, const std::vector<uint64_t>& buckets) {
  Point copy = point;
  copy.bucket_begin = static_cast<uint32_t>(to.buckets.size());
  auto from = buckets.begin() + point.bucket_begin;
  to.buckets.insert(to.buckets.end(), from, from + point.bucket_length);
  to.points.push_back(std::move(copy));
}

// Most batches carry the same series in the same order as the one before.
bool replaces_all(const ResourceSeries& old, const Point* points, std::size_t length) {
  if (old.points.size() != length) return false;
  for (std::size_t i = 0; i < length; i++)
    if (!(key_of(old.points[i]) == key_of(points[i]))) return false;
  return true;
}

// New points first, then the old series that the batch does not speak of, grouped by metric again.
void keep_unmentioned(ResourceSeries& made, const ResourceSeries& old, const Point* points, std::size_t length) {
  std::unordered_set<SeriesKey, SeriesKeyHash> mentioned;
  mentioned.reserve(length);
  for (std::size_t i = 0; i < length; i++) mentioned.insert(key_of(points[i]));
  std::size_t before = made.points.size();
  for (const Point& point : old.points)
    if (!mentioned.contains(key_of(point))) append(made, point, old.buckets);
  if (made.points.size() != before)
    std::stable_sort(made.points.begin(), made.points.end(), [](const Point& a, const Point& b) {
      return a.metric != b.metric && a.metric->name < b.metric->name;
    });
}

}  // namespace

std::size_t PrometheusState::update(const Batch& batch) {
  std::lock_guard lock(mutex_);
  std::size_t dropped = 0;
  for (const ResourcePoints& group : batch.resources) {
    const Point* points = batch.points.data() + group.begin;
    auto found = resources_.find(group.resource->id);
    const ResourceSeries* old = found == resources_.end() ? nullptr : found->second.get();
    std::size_t had = old ? old->points.size() : 0;
    std::size_t others = series_ - had;

    auto made = std::make_shared<ResourceSeries>();
    made->resource = group.resource;
    made->time_ns = batch.time_ns;
    made->points.reserve(group.length);
    for (uint32_t i = 0; i < group.length; i++)
      if (!points[i].no_recorded_value) append(*made, points[i], batch.buckets);
    if (old && !replaces_all(*old, points, group.length)) keep_unmentioned(*made, *old, points, group.length);

    if (others + made->points.size() > max_series_) {
      std::size_t room = max_series_ - std::min(others, max_series_);
      dropped += made->points.size() - room;
      made->points.resize(room);
    }
    series_ = others + made->points.size();
    if (made->points.empty())
      resources_.erase(group.resource->id);
    else
      resources_[group.resource->id] = std::move(made);
  }
  return dropped;
}

std::vector<ResourceSeriesPtr> PrometheusState::snapshot() const {
  std::lock_guard lock(mutex_);
  std::vector<ResourceSeriesPtr> out;
  out.reserve(resources_.size());
  for (const auto& [id, series] : resources_) out.push_back(series);
  return out;
}

std::size_t PrometheusState::series() const {
  std::lock_guard lock(mutex_);
  return series_;
}

}  // namespace sonde
