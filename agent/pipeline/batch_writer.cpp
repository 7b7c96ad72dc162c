// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/batch_writer.h"

#include <sonde/abi.h>
#include <sonde/histogram.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace sonde {
namespace {

constexpr AttributeSpec kRatioAttributes[] = {{"sonde.probe", "name of the probe"}};
constexpr MetricSpec kRatio{
    .name = "sonde.histogram.sample.ratio",
    .unit = "1",
    .instrument = Instrument::Gauge,
    .description = "Fraction of operations that the probe's histograms sample. Not exported while it is 1.",
    .attributes = kRatioAttributes,
    .integer = false};
static_assert(SONDE_MAX_MODULES <= 32, "Stream::ratios has a bit for each");

uint16_t sample_every(const Catalog& catalog, const Stream& stream, std::size_t module) {
  if (!stream.decision || module >= stream.decision->probes.size()) return 1;
  const ProbeDecision& probe = stream.decision->probes[module];
  return probe.metrics && catalog.module(module).samples_histograms ? probe.sample_every : 1;
}

}  // namespace

void BatchWriter::begin(const ResourcePtr& resource) {
  batch_.resources.push_back({resource, static_cast<uint32_t>(batch_.points.size()), 0});
}

void BatchWriter::end() {
  ResourcePoints& last = batch_.resources.back();
  last.length = static_cast<uint32_t>(batch_.points.size()) - last.begin;
  if (last.length == 0) batch_.resources.pop_back();
}

// A clock that was set back must not make points older than their start, nor than those sent before. Between the start and
// the first value there is room for the zero that a series begins with.
uint64_t BatchWriter::time_of(const Stream& stream) const {
  return std::max({now_.real_ns, stream.start_ns + 2 * kPointStep, stream.last_time_ns + kPointStep});
}

void BatchWriter::sorted(Stream& stream) {
  entries_.clear();
  for (const auto& group : stream.groups) {
    const uint64_t start = std::max(stream.start_ns, group->start_ns);
    for (Accumulator& series : group->series()) entries_.push_back({series.key, &series, start});
  }
  if (stream.groups.size() > 1) std::ranges::stable_sort(entries_, {}, &Entry::key);
}

BatchWriter::Through BatchWriter::write(Stream& stream, bool values, uint64_t period_ns) {
  const uint64_t time = latest_ = time_of(stream);
  const uint64_t oldest = time > 2 * period_ns ? time - 2 * period_ns : 0;
  const Times times{time, std::max(oldest, stream.last_time_ns)};
  const std::size_t before = batch_.points.size();
  if (stream.groups.size() == 1) {
    for (Accumulator& series : stream.own().series()) {
      write_series(stream, {series.key, &series, stream.start_ns}, values, times);
    }
  } else {
    sorted(stream);
    for (const Entry& entry : entries_) write_series(stream, entry, values, times);
  }
  if (!values && stream.marks) stream.last_time_ns += kPointStep;  // that of the marks
  const Through through = settle_marked(stream);
  if (values) {
    stream.last_time_ns = latest_;
    stream.emitted = stream.emitted || batch_.points.size() > before;
    // Those that end got their last value just now.
    for (auto& group : stream.groups) {
      for (Accumulator& series : group->series()) {
        const bool late = group->ending && series.state == SeriesState::Live;
        if (series.state != SeriesState::Ending && !late) continue;
        series.state = SeriesState::Marking;
        stream.marks = true;
      }
    }
  }
  return through;
}

// What is kept of series that have had their end mark. Those of a process that has ended go together: as long as one is
// left, others might begin again under the start time that they had.
BatchWriter::Through BatchWriter::settle_marked(Stream& stream) {
  Through through;
  for (auto& group : stream.groups) {
    if (stream.marks) {
      through.gone += group->erase_if([&](const Accumulator& series) {
        const CatalogSeries& info = catalog_[series.ordinal];
        const bool kept = series.emitted && !is_state(*info.metric, info.source);
        return series.state == SeriesState::Marking && !kept;
      });
      for (Accumulator& series : group->series()) {
        if (series.state != SeriesState::Marking) continue;
        series.state = SeriesState::Parked;
        ++through.parked;
      }
    }
    const auto parked = [](const Accumulator& series) { return series.state == SeriesState::Parked; };
    if (group->ending && std::ranges::all_of(group->series(), parked)) through.forgotten += group->erase_if(parked);
  }
  stream.marks = false;
  stream.series -= through.gone + through.parked;
  return through;
}

void BatchWriter::write_series(const Stream& stream, const Entry& entry, bool values, const Times& times) {
  Accumulator& series = *entry.series;
  if (series.state == SeriesState::Parked) return;
  if (series.state == SeriesState::Marking) {
    if (series.emitted) write_mark(entry, stream.last_time_ns + kPointStep);
    return;
  }
  if (!values) return;
  uint64_t time = times.value_ns;
  if (!series.emitted && begins_with_zero(series)) {
    const uint64_t zero = std::max(entry.start_ns + kPointStep, times.earliest_ns);
    time = std::max(time, zero + kPointStep);  // a process may have begun after the others' last points
    write_beginning(entry, zero);
  }
  time = std::max(time, entry.start_ns + kPointStep);
  latest_ = std::max(latest_, time);
  write_value(entry, time);
}

// Whoever sees only values takes the first one for where they began: events before it would be lost.
bool BatchWriter::begins_with_zero(const Accumulator& series) const {
  if (series.amount() == 0) return false;
  const Instrument instrument = catalog_[series.ordinal].metric->instrument;
  return instrument == Instrument::Counter || instrument == Instrument::Histogram;
}

void BatchWriter::write_marks(Stream& stream) {
  sorted(stream);
  const uint64_t time = stream.last_time_ns + kPointStep;
  for (const Entry& entry : entries_) {
    if (entry.series->emitted && entry.series->state != SeriesState::Parked) write_mark(entry, time);
  }
  stream.marks = false;
}

std::size_t BatchWriter::write_returning(Stream& stream) {
  const uint64_t time = std::max(time_of(stream), stream.last_time_ns + 2 * kPointStep);  // after their end marks
  std::size_t returned = 0;
  sorted(stream);
  for (const Entry& entry : entries_) {
    if (entry.series->state != SeriesState::Returning) continue;
    entry.series->state = SeriesState::Live;
    ++returned;
    Point& point = add_point(entry, time);
    point.begins = true;
    write_amount(point, *entry.series);
  }
  stream.last_time_ns = time;
  return returned;
}

void BatchWriter::write_ratios(Stream& stream, bool live) {
  if (live && batch_.points.size() == batch_.resources.back().begin) return;
  for (std::size_t module = 0; module < catalog_.modules(); ++module) {
    const uint32_t bit = 1U << module;
    const uint16_t every = live ? sample_every(catalog_, stream, module) : 1;
    if (every <= 1 && !(stream.ratios & bit)) continue;
    Point& point = batch_.points.emplace_back();
    point.metric = &kRatio;
    point.attributes = catalog_.probe(module);
    point.start_ns = stream.start_ns;
    point.time_ns = live ? stream.last_time_ns : stream.last_time_ns + kPointStep;
    if (every > 1) point.real = 1.0 / every;
    point.no_recorded_value = every <= 1;
    stream.ratios = every > 1 ? stream.ratios | bit : stream.ratios & ~bit;
  }
}

Point& BatchWriter::add_point(const Entry& entry, uint64_t time_ns) {
  Point& point = batch_.points.emplace_back();
  point.metric = catalog_[entry.series->ordinal].metric;
  point.attributes = entry.series->attributes;
  point.start_ns = entry.start_ns;
  point.time_ns = time_ns;
  return point;
}

void BatchWriter::write_beginning(const Entry& entry, uint64_t time_ns) { add_point(entry, time_ns).begins = true; }

void BatchWriter::write_value(const Entry& entry, uint64_t time_ns) {
  entry.series->emitted = true;
  write_amount(add_point(entry, time_ns), *entry.series);
}

void BatchWriter::write_amount(Point& point, const Accumulator& series) {
  const CatalogSeries& info = catalog_[series.ordinal];
  if (series.histogram) {
    point.real = static_cast<double>(series.value) * info.scale;
    point.count = series.histogram->count;
    point.bucket_begin = static_cast<uint32_t>(batch_.buckets.size());
    const uint32_t first = series.histogram->buckets.append_to(batch_.buckets);
    point.bucket_offset = static_cast<int32_t>(first) + SONDE_HIST_OFFSET;
    point.bucket_length = static_cast<uint32_t>(batch_.buckets.size()) - point.bucket_begin;
    return;
  }
  const bool is_signed = is_state(*info.metric, info.source);
  const int64_t value = std::bit_cast<int64_t>(series.value);
  const double real = (is_signed ? static_cast<double>(value) : static_cast<double>(series.value)) * info.scale;
  if (!info.metric->integer) {
    point.real = real;
  } else {
    point.integer = info.scale == 1.0 ? value : std::llround(real);
  }
}

void BatchWriter::write_mark(const Entry& entry, uint64_t time_ns) {
  add_point(entry, std::max(time_ns, entry.start_ns + kPointStep)).no_recorded_value = true;
}

}  // namespace sonde
