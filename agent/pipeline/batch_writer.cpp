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
    .description = "Part of the operations that the probe's histograms take. Not sent while it is 1.",
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

// A clock that was set back must not make points older than their start, nor than those sent before.
uint64_t BatchWriter::time_of(const Stream& stream) const {
  uint64_t time = std::max({now_.real_ns, stream.start_ns + 1, stream.last_time_ns});
  // A restarted container began after this one ended: its last values are from before that.
  if (stream.state != StreamState::Live && stream.successor) {
    time = std::min(time, std::max(stream.successor->start_ns, stream.last_time_ns + kEndMarkDelay));
  }
  return std::max(time, stream.start_ns + 1);
}

void BatchWriter::sorted(Stream& stream, std::size_t first_group) {
  entries_.clear();
  for (std::size_t i = first_group; i < stream.groups.size(); ++i) {
    for (Accumulator& series : stream.groups[i]->series()) entries_.push_back({series.key, &series});
  }
  std::ranges::stable_sort(entries_, {}, &Entry::key);
}

std::size_t BatchWriter::write(Stream& stream, bool values) {
  const uint64_t time = latest_ = time_of(stream);
  const bool had_marks = stream.marks;
  if (stream.groups.size() == 1) {
    for (Accumulator& series : stream.own().series()) write_series(stream, series, values, time);
  } else {
    sorted(stream, 0);
    for (const Entry& entry : entries_) write_series(stream, *entry.series, values, time);
  }
  std::size_t erased = 0;
  if (had_marks) {
    stream.marks = false;
    for (auto& group : stream.groups) {
      erased += group->erase_if([](const Accumulator& series) { return series.state == SeriesState::Marking; });
    }
  }
  if (values) {
    stream.last_time_ns = latest_;
    stream.emitted = true;
    // Those that end got their last value just now.
    for (auto& group : stream.groups) {
      for (Accumulator& series : group->series()) {
        if (series.state != SeriesState::Ending) continue;
        series.state = SeriesState::Marking;
        stream.marks = true;
      }
    }
  }
  stream.series -= erased;
  return erased;
}

void BatchWriter::write_series(const Stream& stream, Accumulator& series, bool values, uint64_t time_ns) {
  if (series.state == SeriesState::Marking) {
    if (series.emitted) write_mark(series, stream.last_time_ns + kEndMarkDelay);
  } else if (values) {
    // A series that began after the others may need a later time than they.
    const uint64_t time = std::max(time_ns, series.start_ns + 1);
    latest_ = std::max(latest_, time);
    write_value(series, time);
  }
}

void BatchWriter::write_marks(Stream& stream) {
  sorted(stream, stream.continued ? 1 : 0);
  for (const Entry& entry : entries_) {
    if (entry.series->emitted) write_mark(*entry.series, stream.last_time_ns + kEndMarkDelay);
  }
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
    point.time_ns = live ? stream.last_time_ns : stream.last_time_ns + kEndMarkDelay;
    if (every > 1) point.real = 1.0 / every;
    point.no_recorded_value = every <= 1;
    stream.ratios = every > 1 ? stream.ratios | bit : stream.ratios & ~bit;
  }
}

void BatchWriter::write_value(Accumulator& series, uint64_t time_ns) {
  const CatalogSeries& info = catalog_[series.ordinal];
  series.emitted = true;
  Point& point = batch_.points.emplace_back();
  point.metric = info.metric;
  point.attributes = series.attributes;
  point.start_ns = series.start_ns;
  point.time_ns = time_ns;
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

void BatchWriter::write_mark(const Accumulator& series, uint64_t time_ns) {
  Point& point = batch_.points.emplace_back();
  point.metric = catalog_[series.ordinal].metric;
  point.attributes = series.attributes;
  point.start_ns = series.start_ns;
  point.time_ns = std::max(time_ns, series.start_ns + 1);
  point.no_recorded_value = true;
}

}  // namespace sonde
