// SPDX-License-Identifier: Apache-2.0
// Streams to points. Points of one metric stand together, sorted by the series' key.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/pipeline/catalog.h"
#include "agent/pipeline/now.h"
#include "agent/pipeline/stream.h"

namespace sonde {

class BatchWriter {
 public:
  BatchWriter(const Catalog& catalog, Batch& batch, Now now) : catalog_(catalog), batch_(batch), now_(now) {}

  void begin(const ResourcePtr& resource);
  void end();  // a Resource without points is taken back

  struct Through {
    std::size_t gone = 0;
    std::size_t parked = 0;
    std::size_t forgotten = 0;  // parked ones whose process has gone
  };
  // Values of all its series if `values`, end marks of those that are through. Monotonic series that have had their mark
  // are parked until a process has ended, others are erased. A series' first value has its beginning before it, which
  // is never older than two periods.
  Through write(Stream& stream, bool values, uint64_t period_ns);
  // End marks of all series, one step after their last values.
  void write_marks(Stream& stream);
  // What the series that return begin with; they are Live from here on. Returns how many they are.
  std::size_t write_returning(Stream& stream);
  // sonde.histogram.sample.ratio of each probe that samples the stream's histograms; its end mark where one did, or if
  // not `live`. Last on the Resource, and never alone.
  void write_ratios(Stream& stream, bool live);

 private:
  struct Entry {
    SeriesKey key;
    Accumulator* series;
    uint64_t start_ns;
  };
  struct Times {
    uint64_t value_ns;
    uint64_t earliest_ns;  // of what a series begins with
  };
  void write_series(const Stream& stream, const Entry& entry, bool values, const Times& times);
  void write_beginning(const Entry& entry, uint64_t time_ns);
  void write_value(const Entry& entry, uint64_t time_ns);
  void write_mark(const Entry& entry, uint64_t time_ns);
  void write_amount(Point& point, const Accumulator& series);
  Point& add_point(const Entry& entry, uint64_t time_ns);
  bool begins_with_zero(const Accumulator& series) const;
  void sorted(Stream& stream);
  Through settle_marked(Stream& stream);
  uint64_t time_of(const Stream& stream) const;

  const Catalog& catalog_;
  Batch& batch_;
  Now now_;
  std::vector<Entry> entries_;
  uint64_t latest_ = 0;  // time of the stream's latest point
};

}  // namespace sonde
