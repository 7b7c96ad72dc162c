// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/self_metrics.h"

#include <algorithm>

#include "agent/pipeline/resource.h"

namespace sonde {
namespace {

struct Value {
  SelfMetric metric;
  AttributeSet attributes;
  Point point;
  std::vector<uint64_t> buckets;
};

bool before(const Value& a, const Value& b) {
  if (a.metric != b.metric) return a.metric < b.metric;
  return std::ranges::lexicographical_compare(a.attributes, b.attributes,
                                              [](const Attribute& x, const Attribute& y) { return x.value < y.value; });
}

bool begins_with_zero(const Point& point) {
  const Instrument instrument = point.metric->instrument;
  if (instrument != Instrument::Counter && instrument != Instrument::Histogram) return false;
  return point.count != 0 || point.integer != 0 || point.real != 0;
}

}  // namespace

void DurationHistogram::observe(uint64_t ns) {
  const MutexLock lock(mutex_);
  ++value_.count;
  value_.sum_ns += ns;
  ++value_.buckets[sonde_hist_index(ns)];
}

DurationHistogram::Value DurationHistogram::value() const {
  const MutexLock lock(mutex_);
  return value_;
}

class SelfMetrics::Collector final : public SelfSink {
 public:
  using Attributes = std::initializer_list<std::string_view>;

  void value(SelfMetric metric, double value, Attributes attributes) override {
    const bool integer = self_specs()[static_cast<std::size_t>(metric)].integer;
    Point& point = add(metric, attributes).point;
    point.real = integer ? 0 : value;
    point.integer = integer ? static_cast<int64_t>(value) : 0;
  }
  void value(SelfMetric metric, uint64_t value, Attributes attributes) override {
    const bool integer = self_specs()[static_cast<std::size_t>(metric)].integer;
    Point& point = add(metric, attributes).point;
    point.integer = integer ? static_cast<int64_t>(value) : 0;
    point.real = integer ? 0 : static_cast<double>(value);
  }
  void histogram(SelfMetric metric, const DurationHistogram::Value& value, Attributes attributes) override {
    Value& added = add(metric, attributes);
    added.point.real = static_cast<double>(value.sum_ns) * 1e-9;
    added.point.count = value.count;
    std::size_t first = 0, last = value.buckets.size();
    while (first < last && value.buckets[first] == 0) ++first;
    while (last > first && value.buckets[last - 1] == 0) --last;
    added.point.bucket_offset = (first == last ? 0 : static_cast<int32_t>(first)) + SONDE_HIST_OFFSET;
    for (std::size_t i = first; i < last; ++i) added.buckets.push_back(value.buckets[i]);
  }

  // Sorted, each series once: of two that are alike the later one is dropped.
  std::vector<Value>& finish() {
    std::ranges::stable_sort(values_, before);
    // Not std::ranges::unique: clang 14, which builds the fuzz targets, cannot read it in g++ 12's library.
    const auto twice = std::unique(values_.begin(), values_.end(), [](const Value& a, const Value& b) {
      return a.metric == b.metric && a.attributes == b.attributes;
    });
    dropped_ += static_cast<uint64_t>(values_.end() - twice);
    values_.erase(twice, values_.end());
    return values_;
  }
  uint64_t dropped() const { return dropped_; }

 private:
  Value& add(SelfMetric metric, Attributes attributes) {
    if (values_.size() >= kMaxSeries) {
      ++dropped_;
      spare_ = {};
      return spare_;
    }
    const MetricSpec& spec = self_specs()[static_cast<std::size_t>(metric)];
    Value& added = values_.emplace_back();
    added.metric = metric;
    added.point.metric = &spec;
    std::size_t i = 0;
    for (const std::string_view value : attributes) {
      if (i >= spec.attributes.size()) break;
      add_attribute(added.attributes, std::string(spec.attributes[i++].key), clean_text(value));
    }
    return added;
  }

  std::vector<Value> values_;
  Value spare_;
  uint64_t dropped_ = 0;
};

SelfMetrics::SelfMetrics(Now started) : start_ns_(started.real_ns) {}

void SelfMetrics::add_source(Source source) {
  const MutexLock lock(mutex_);
  sources_.push_back(std::move(source));
}

void SelfMetrics::append(Batch& batch, Now now) {
  Collector collector;
  collector.value(SelfMetric::BuildInfo, uint64_t{1}, {SONDE_VERSION});
  report(collector, read_process_stats());
  collector.histogram(SelfMetric::CollectionDuration, collection_duration.value(), {});
  collector.histogram(SelfMetric::ExportDuration, export_duration.value(), {});
  {
    const MutexLock lock(mutex_);
    for (const Source& source : sources_) source(collector);
  }

  const uint64_t time = std::max({now.real_ns, start_ns_ + 2 * kPointStep, last_time_ns_ + kPointStep});
  std::vector<Known> known;
  std::vector<Value>& values = collector.finish();
  auto old = known_.begin();
  const auto mark = [&](const Known& gone) {
    Point& point = batch.points.emplace_back();
    point.metric = &self_specs()[static_cast<std::size_t>(gone.metric)];
    point.attributes = gone.attributes;
    point.start_ns = start_ns_;
    point.time_ns = time;
    point.no_recorded_value = true;
  };
  for (Value& value : values) {
    // Both lists are sorted alike: what is only in the old one has gone.
    while (old != known_.end() && before(Value{old->metric, *old->attributes, {}, {}}, value)) mark(*old++);
    const bool seen = old != known_.end() && old->metric == value.metric && *old->attributes == value.attributes;
    AttributeSetPtr attributes =
        seen ? old->attributes : std::make_shared<const AttributeSet>(std::move(value.attributes));
    if (seen) ++old;
    known.push_back({value.metric, attributes});
    if (!seen && begins_with_zero(value.point)) {
      Point& zero = batch.points.emplace_back();
      zero.metric = value.point.metric;
      zero.attributes = attributes;
      zero.start_ns = start_ns_;
      zero.time_ns = std::max(start_ns_ + kPointStep, last_time_ns_);
      zero.begins = true;
    }
    Point& point = batch.points.emplace_back(std::move(value.point));
    point.attributes = std::move(attributes);
    point.start_ns = start_ns_;
    point.time_ns = time;
    point.bucket_begin = static_cast<uint32_t>(batch.buckets.size());
    point.bucket_length = static_cast<uint32_t>(value.buckets.size());
    batch.buckets.insert(batch.buckets.end(), value.buckets.begin(), value.buckets.end());
  }
  while (old != known_.end()) mark(*old++);
  known_ = std::move(known);
  last_time_ns_ = time;
  dropped_ += collector.dropped();
}

}  // namespace sonde
