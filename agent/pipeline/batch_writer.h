// SPDX-License-Identifier: Apache-2.0
// Streams to points. Points of one metric stand together, sorted by the series' key.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/pipeline/catalog.h"
#include "agent/pipeline/now.h"
#include "agent/pipeline/stream.h"

namespace sonde {

// An end mark comes so long after the last value: Prometheus tells points of one series apart by milliseconds.
inline constexpr uint64_t kEndMarkDelay = 1'000'000;

class BatchWriter {
 public:
  BatchWriter(const Catalog& catalog, Batch& batch, Now now) : catalog_(catalog), batch_(batch), now_(now) {}

  void begin(const ResourcePtr& resource);
  void end();  // a Resource without points is taken back

  // Values of all its series if `values`, end marks of those that are through. Series that have had their mark are
  // erased; returns how many.
  std::size_t write(Stream& stream, bool values);
  // End marks of all series; of a continued stream only those of its processes.
  void write_marks(Stream& stream);
  // sonde.histogram.sample.ratio of each probe that samples the stream's histograms; its end mark where one did, or if
  // not `live`. Last on the Resource, and never alone.
  void write_ratios(Stream& stream, bool live);

 private:
  struct Entry {
    SeriesKey key;
    Accumulator* series;
  };
  void write_series(const Stream& stream, Accumulator& series, bool values, uint64_t time_ns);
  void write_value(Accumulator& series, uint64_t time_ns);
  void write_mark(const Accumulator& series, uint64_t time_ns);
  void sorted(Stream& stream, std::size_t first_group);
  uint64_t time_of(const Stream& stream) const;

  const Catalog& catalog_;
  Batch& batch_;
  Now now_;
  std::vector<Entry> entries_;
  uint64_t latest_ = 0;  // time of the stream's latest point
};

}  // namespace sonde
