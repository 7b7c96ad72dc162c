// SPDX-License-Identifier: Apache-2.0
// What the kernel layer passes to the pipeline in a collection: changes since the last one, by slot and series.
#pragma once

#include <cstdint>
#include <span>

namespace sonde {

struct SeriesId {
  uint16_t module = 0;  // index into modules()
  uint16_t series = 0;  // index into ModuleInfo::series
  uint32_t cell = 0;    // for keyed sources: the key + 1 (0 for kOtherCells)
  friend bool operator==(const SeriesId&, const SeriesId&) = default;
};

struct BucketDelta {
  uint16_t bucket;  // 0..SONDE_HIST_BUCKETS; OTLP index = bucket + SONDE_HIST_OFFSET
  uint64_t count;
};

struct HistogramDelta {
  uint64_t count = 0;
  uint64_t sum = 0;                      // kernel unit (ns)
  std::span<const BucketDelta> buckets;  // ascending, none with count 0
};

class SampleSink {
 public:
  virtual ~SampleSink() = default;
  virtual void counter(uint32_t slot, SeriesId id, uint64_t delta) = 0;  // delta > 0
  virtual void gauge(uint32_t slot, SeriesId id, int64_t value) = 0;
  // The sum of a sample being written may arrive one collection after its bucket: count or sum may be 0.
  virtual void histogram(uint32_t slot, SeriesId id, const HistogramDelta& delta) = 0;
};

}  // namespace sonde
