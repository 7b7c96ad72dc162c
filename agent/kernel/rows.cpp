// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/rows.h"

#include <bpf/bpf.h>

#include <array>
#include <cstring>
#include <string>

#include "sonde/abi.h"

namespace sonde {
namespace {

constexpr uint16_t kNoSeries = 0xffff;
constexpr std::size_t kCellValues = SONDE_CELLS + 1;  // and `other`

// The change since `last`. Reads while writers run: each value is read once, atomically.
template <typename T>
uint64_t change(T* value, T& last, bool clear) {
  if (!clear) {
    const T now = __atomic_load_n(value, __ATOMIC_RELAXED);
    const T delta = now - last;  // modular: a wrapped u32 bucket still gives the right difference
    last = now;
    return delta;
  }
  if (__atomic_load_n(value, __ATOMIC_RELAXED) == 0 && last == 0) return 0;
  const T delta = __atomic_exchange_n(value, T{0}, __ATOMIC_RELAXED) - last;
  last = 0;
  return delta;
}

std::vector<uint16_t> by_index(const ModuleInfo& info, Source source, std::size_t length) {
  std::vector<uint16_t> series(length, kNoSeries);
  for (std::size_t i = 0; i < info.series.size(); ++i) {
    const SeriesSpec& spec = info.series[i];
    if (spec.source == source && spec.index < length) series[spec.index] = static_cast<uint16_t>(i);
  }
  return series;
}

}  // namespace

Result<Rows> Rows::map(bpf_object* object, const ModuleInfo& info, uint16_t module_id, Core& core) {
  Rows rows;
  rows.info_ = &info;
  rows.module_ = module_id;
  rows.core_ = &core;
  const std::string name(info.name);
  struct {
    Mapped& target;
    const char* suffix;
  } const wanted[] = {{rows.counters_, "_counters"},
                      {rows.histograms_, "_histograms"},
                      {rows.cells_, "_cells"},
                      {rows.keyed_, "_keyed"},
                      {rows.gauges_, "_gauges"}};
  for (const auto& one : wanted) {
    auto mapped = Mapped::map(object, name + one.suffix);
    if (!mapped) return mapped.error();
    one.target = std::move(*mapped);
  }
  rows.series_of_counter_ = by_index(info, Source::Counter, info.counters);
  rows.series_of_histogram_ = by_index(info, Source::Histogram, info.histograms);
  rows.series_of_gauge_ = by_index(info, Source::Gauge, info.gauges);
  for (const SeriesSpec& series : info.series) {
    if (series.early && series.source == Source::Histogram) rows.early_.push_back({series.index, series.flag});
  }
  rows.cell_series_ = by_index(info, Source::Cells, 1)[0];
  rows.keyed_series_ = by_index(info, Source::KeyedHistogram, 1)[0];
  const uint32_t slots = core.sizes().slots;
  rows.last_counters_ = zeroed<uint64_t>(std::size_t{slots} * info.counters + 1);
  rows.last_cells_ = zeroed<uint64_t>(rows.cells_ ? slots * kCellValues : 1);
  return rows;
}

uint64_t Rows::drain(uint32_t slot, SampleSink& sink, bool clear) {
  uint64_t moved = 0;
  if (counters_) moved += drain_counters(slot, sink, clear);
  if (histograms_) moved += drain_histograms(slot, sink, clear);
  if (cells_) moved += drain_cells(slot, sink, clear);
  if (keyed_) moved += drain_keyed(slot, sink, clear);
  return moved;
}

uint64_t Rows::drain_counters(uint32_t slot, SampleSink& sink, bool clear) {
  auto* row = counters_.at<uint64_t>(slot);
  uint64_t* last = &last_counters_[std::size_t{slot} * info_->counters];
  uint64_t moved = 0;
  for (uint16_t i = 0; i < info_->counters; ++i) {
    const uint64_t delta = change(&row[i], last[i], clear);
    if (!delta || series_of_counter_[i] == kNoSeries) continue;
    sink.counter(slot, {module_, series_of_counter_[i], 0}, delta);
    ++moved;
  }
  return moved;
}

uint64_t Rows::drain_histograms(uint32_t slot, SampleSink& sink, bool clear) {
  const auto* numbers = histograms_.at<uint32_t>(slot);
  uint64_t moved = 0;
  for (uint16_t i = 0; i < info_->histograms; ++i) {
    moved += drain_row(slot, {module_, series_of_histogram_[i], 0}, &numbers[i], sink, clear);
  }
  return moved;
}

uint64_t Rows::drain_keyed(uint32_t slot, SampleSink& sink, bool clear) {
  const auto* keyed = keyed_.at<sonde_keyed>(slot);
  uint64_t moved = 0;
  for (std::size_t i = 0; i < SONDE_CELLS; ++i) {
    const uint32_t key = __atomic_load_n(&keyed->key[i], __ATOMIC_ACQUIRE);
    if (!key) break;  // claimed in order
    moved += drain_row(slot, {module_, keyed_series_, key}, &keyed->row[i], sink, clear);
  }
  return moved + drain_row(slot, {module_, keyed_series_, 0}, &keyed->other_row, sink, clear);
}

uint64_t Rows::drain_row(uint32_t slot, SeriesId id, const uint32_t* place, SampleSink& sink, bool clear) {
  const uint32_t number = __atomic_load_n(place, __ATOMIC_ACQUIRE);
  if (number == SONDE_NO_ROW || number >= core_->sizes().rows) return 0;
  auto* row = core_->histograms.at<sonde_histogram>(number);
  sonde_histogram& last = core_->last_histograms[number];
  if (std::memcmp(row, &last, sizeof(last)) == 0) return 0;
  std::array<BucketDelta, SONDE_HIST_BUCKETS + 1> buckets;
  std::size_t used = 0;
  HistogramDelta delta;
  // Buckets before the sum: a sample is added to its bucket first, so the sum may be ahead by some samples that the
  // next collection brings, never behind for good.
  for (uint16_t bucket = 0; bucket < SONDE_HIST_BUCKETS; ++bucket) {
    if (const uint64_t n = change(&row->bucket[bucket], last.bucket[bucket], clear)) {
      buckets[used++] = {bucket, n};
      delta.count += n;
    }
  }
  if (const uint64_t n = change(&row->overflow, last.overflow, clear)) {
    buckets[used++] = {SONDE_HIST_BUCKETS, n};
    delta.count += n;
  }
  delta.sum = change(&row->sum, last.sum, clear);
  delta.buckets = {buckets.data(), used};
  if ((!delta.count && !delta.sum) || id.series == kNoSeries) return 0;
  sink.histogram(slot, id, delta);
  return 1;
}

uint64_t Rows::drain_cells(uint32_t slot, SampleSink& sink, bool clear) {
  auto* cells = cells_.at<sonde_cells>(slot);
  uint64_t* last = &last_cells_[std::size_t{slot} * kCellValues];
  uint64_t moved = 0;
  for (std::size_t i = 0; i < SONDE_CELLS; ++i) {
    const uint32_t key = __atomic_load_n(&cells->key[i], __ATOMIC_ACQUIRE);
    if (!key) break;  // claimed in order
    if (const uint64_t delta = change(&cells->count[i], last[i], clear)) {
      sink.counter(slot, {module_, cell_series_, key}, delta);
      ++moved;
    }
  }
  if (const uint64_t delta = change(&cells->other, last[SONDE_CELLS], clear)) {
    sink.counter(slot, {module_, cell_series_, 0}, delta);
    ++moved;
  }
  return moved;
}

void Rows::read_gauges(uint32_t slot, SampleSink& sink) const {
  if (!gauges_) return;
  const auto* row = gauges_.at<int64_t>(slot);
  for (uint16_t i = 0; i < info_->gauges; ++i) {
    if (series_of_gauge_[i] == kNoSeries) continue;
    const int64_t value = __atomic_load_n(&row[i], __ATOMIC_RELAXED);
    if (value != SONDE_NO_GAUGE) sink.gauge(slot, {module_, series_of_gauge_[i], 0}, value);
  }
}

void Rows::reserve(uint32_t slot, uint8_t flags) {
  if (!histograms_) return;
  const int pool = core_->map_fd("sonde_free_rows");
  for (const Early& early : early_) {
    uint32_t* place = &histograms_.at<uint32_t>(slot)[early.index];
    uint32_t none = SONDE_NO_ROW;
    uint32_t number = SONDE_NO_ROW;
    if (!(flags & early.flag) || __atomic_load_n(place, __ATOMIC_ACQUIRE) != none) continue;
    if (bpf_map_lookup_and_delete_elem(pool, nullptr, &number)) return;
    // A program may be taking one at the same moment: the loser gives its row back, as in rows.h of the kernel side.
    if (!__atomic_compare_exchange_n(place, &none, number, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      bpf_map_update_elem(pool, nullptr, &number, BPF_ANY);
    }
  }
}

void Rows::forget(uint32_t slot) {
  if (counters_) {
    std::memset(counters_.at<uint64_t>(slot), 0, sizeof(uint64_t) * info_->counters);
    std::memset(&last_counters_[std::size_t{slot} * info_->counters], 0, sizeof(uint64_t) * info_->counters);
  }
  if (cells_) {
    std::memset(cells_.at<sonde_cells>(slot), 0, sizeof(sonde_cells));
    std::memset(&last_cells_[std::size_t{slot} * kCellValues], 0, sizeof(uint64_t) * kCellValues);
  }
  if (gauges_) std::memset(gauges_.at<int64_t>(slot), 0, sizeof(int64_t) * info_->gauges);
  if (histograms_) {
    auto* numbers = histograms_.at<uint32_t>(slot);
    for (uint16_t i = 0; i < info_->histograms; ++i) forget_row(&numbers[i]);
  }
  if (keyed_) {
    auto* keyed = keyed_.at<sonde_keyed>(slot);
    for (uint32_t& number : keyed->row) forget_row(&number);
    forget_row(&keyed->other_row);
    std::memset(keyed, 0, sizeof(*keyed));
  }
}

uint64_t Rows::histograms_of(uint32_t slot) const {
  uint64_t rows = 0;
  const auto count = [&](const uint32_t& number) {
    rows += __atomic_load_n(&number, __ATOMIC_RELAXED) != SONDE_NO_ROW;
  };
  if (histograms_) {
    const auto* numbers = histograms_.at<uint32_t>(slot);
    for (uint16_t i = 0; i < info_->histograms; ++i) count(numbers[i]);
  }
  if (keyed_) {
    const auto* keyed = keyed_.at<sonde_keyed>(slot);
    for (const uint32_t& number : keyed->row) count(number);
    count(keyed->other_row);
  }
  return rows;
}

// Gives it back to the pool.
void Rows::forget_row(uint32_t* place) {
  const uint32_t number = *place;
  if (number == SONDE_NO_ROW || number >= core_->sizes().rows) return;
  *place = SONDE_NO_ROW;
  std::memset(core_->histograms.at<sonde_histogram>(number), 0, sizeof(sonde_histogram));
  std::memset(&core_->last_histograms[number], 0, sizeof(sonde_histogram));
  bpf_map_update_elem(core_->map_fd("sonde_free_rows"), nullptr, &number, BPF_ANY);
}

}  // namespace sonde
