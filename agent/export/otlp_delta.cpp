// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_delta.h"

#include <algorithm>
#include <unordered_set>

namespace sonde {
namespace {

// The series of one metric of one Resource that have had a value in the batch so far. Built only when an end mark needs it.
class ValuesSoFar {
 public:
  bool contain(const Batch& batch, const ResourcePoints& range, uint32_t at, const StreamKey& key) {
    const Point* points = batch.points.data();
    if (points[at].metric != metric_ || range.begin != range_begin_) {
      metric_ = points[at].metric;
      range_begin_ = range.begin;
      series_.clear();
      next_ = at;
      while (next_ > range.begin && points[next_ - 1].metric == metric_) next_--;  // points of a metric are adjacent
    }
    for (; next_ < at; next_++) {
      const Point& earlier = points[next_];
      if (!earlier.begins && !earlier.no_recorded_value) series_.insert(stream_of(*range.resource, earlier));
    }
    return series_.contains(key);
  }

 private:
  const MetricSpec* metric_ = nullptr;
  uint32_t range_begin_ = 0;
  uint32_t next_ = 0;
  std::unordered_set<StreamKey, StreamKeyHash> series_;
};

}  // namespace

bool DeltaConverter::is_delta(const Point& point) const {
  if (point.metric == nullptr) return false;
  return (point.metric->instrument == Instrument::Counter && counters_) ||
         (point.metric->instrument == Instrument::Histogram && histograms_);
}

bool DeltaConverter::is_zero(const Point& point) { return point.count == 0 && point.integer == 0 && point.real == 0; }

DeltaConverter::Last DeltaConverter::remembered(const Batch& source, const Point& point) {
  Last last{point.start_ns, point.time_ns, point.integer, point.real, point.count, point.bucket_offset, {}};
  const auto from = source.buckets.begin() + point.bucket_begin;
  last.buckets.assign(from, from + point.bucket_length);
  return last;
}

bool DeltaConverter::subtract(Batch& out, Point& point, const Last* last) {
  if (last == nullptr || last->start_ns != point.start_ns) {
    // A new life counts from its start. If start and time are equal, when it began is not known. A batch holds one
    // point of each life, in order; an earlier life after a later one would be told twice.
    return point.start_ns != point.time_ns && (last == nullptr || last->start_ns < point.start_ns);
  }
  point.start_ns = last->time_ns;
  if (point.time_ns <= last->time_ns) return false;
  if (point.metric->instrument != Instrument::Histogram) {
    // A total that went down is an upstream bug: restart from here, without a spike.
    if (point.integer < last->integer || point.real < last->real) return false;
    point.integer -= last->integer;
    point.real -= last->real;
    return true;
  }
  if (point.count < last->count) return false;
  point.count -= last->count;
  point.real = std::max(0.0, point.real - last->real);
  uint64_t* counts = out.buckets.data() + point.bucket_begin;
  for (uint32_t i = 0; i < point.bucket_length; i++) {
    const int64_t before = int64_t{point.bucket_offset} + i - last->bucket_offset;
    if (before < 0 || before >= static_cast<int64_t>(last->buckets.size())) continue;
    counts[i] -= std::min(counts[i], last->buckets[static_cast<size_t>(before)]);
  }
  while (point.bucket_length > 0 && counts[point.bucket_length - 1] == 0) point.bucket_length--;
  while (point.bucket_length > 0 && *counts == 0) {
    counts++;
    point.bucket_begin++;
    point.bucket_offset++;
    point.bucket_length--;
  }
  return true;
}

BatchPtr DeltaConverter::convert(const Batch& source) const {
  auto out = std::make_shared<Batch>(source);
  Table begun;  // series that come back with what they had: the next point is the difference to that
  std::unordered_set<StreamKey, StreamKeyHash>
      untold;  // a mark without a value before it: what it ended was not told yet
  ValuesSoFar told;
  for (const ResourcePoints& range : out->resources) {
    for (uint32_t i = range.begin; i < range.begin + range.length; i++) {
      Point& point = out->points[i];
      if (!is_delta(point)) continue;
      const StreamKey key = stream_of(*range.resource, point);
      if (point.no_recorded_value && !told.contain(source, range, i, key)) untold.insert(key);
      if (point.begins) {
        if (!is_zero(point) && !untold.contains(key)) begun[key] = remembered(source, point);
        point.metric = nullptr;
        continue;
      }
      const auto returned = begun.find(key);
      const auto known = last_.find(key);
      const Last* last = returned != begun.end() ? &returned->second : known == last_.end() ? nullptr : &known->second;
      if (point.no_recorded_value || !subtract(*out, point, last)) point.metric = nullptr;
    }
  }
  return out;
}

void DeltaConverter::commit(const Batch& source, const BatchCursor& from, const BatchCursor& to) {
  for_each_point(source, from, to, [&](const Resource& resource, const Point& point) {
    if (!is_delta(point)) return;
    if (point.begins && is_zero(point)) return;  // the first difference starts where the stream does
    const StreamKey key = stream_of(resource, point);
    const auto known = last_.find(key);
    if (known != last_.end() && known->second.start_ns > point.start_ns) return;
    if (!point.no_recorded_value) {
      last_[key] = remembered(source, point);
    } else if (known != last_.end()) {
      last_.erase(known);
    }
  });
}

}  // namespace sonde
