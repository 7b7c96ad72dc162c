// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/group.h"

#include <algorithm>

namespace sonde {

void Accumulator::add(const HistogramDelta& delta) {
  value += delta.sum;
  histogram->count += delta.count;
  for (const BucketDelta& bucket : delta.buckets) histogram->buckets.add(bucket.bucket, bucket.count);
}

void Accumulator::add(const Accumulator& other) {
  value += other.value;
  if (!histogram || !other.histogram) return;
  histogram->count += other.histogram->count;
  histogram->buckets.add(other.histogram->buckets);
}

Accumulator* Group::find_key(SeriesKey key) {
  auto place = std::ranges::lower_bound(series_, key, {}, &Accumulator::key);
  return place != series_.end() && place->key == key ? &*place : nullptr;
}

Accumulator& Group::insert(const Located& located, const Catalog& catalog) {
  // Grows by a few: doubling would leave a third of the memory of a thousand containers unused.
  if (series_.size() == series_.capacity())
    series_.reserve(series_.size() + std::max<std::size_t>(8, series_.size() / 4));
  auto place = std::ranges::lower_bound(series_, located.key, {}, &Accumulator::key);
  Accumulator fresh;
  fresh.key = located.key;
  fresh.attributes = join_attributes(located.attributes, extra_);
  fresh.ordinal = located.ordinal;
  if (is_histogram(catalog[located.ordinal].source)) fresh.histogram = std::make_unique<HistogramState>();
  place = series_.insert(place, std::move(fresh));
  if (places_.size() < catalog.size()) places_.resize(catalog.size());
  place_from(static_cast<std::size_t>(place - series_.begin()));
  return *place;
}

void Group::place_from(std::size_t first) {
  if (first == 0) std::ranges::fill(places_, 0);
  for (std::size_t i = first; i < series_.size(); ++i) {
    // Cells and overflow share an ordinal, so they are found by key only.
    const Accumulator& series = series_[i];
    const bool shared = static_cast<uint32_t>(series.key) != 0 || (series.key >> 32 & 0xffff) == kOverflowSeries;
    if (!shared) places_[series.ordinal] = static_cast<uint16_t>(i + 1);
  }
}

}  // namespace sonde
