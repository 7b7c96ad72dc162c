// SPDX-License-Identifier: Apache-2.0
// Cumulative points → differences to what was last accepted by the receiver (or written to the disk queue). A point
// becomes "last accepted" by commit() only, so what a failed request carried is in the next difference: nothing is
// lost, and the end of one point is the start of the next.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/export/batch_walk.h"
#include "agent/export/stream_key.h"

namespace sonde {

class DeltaConverter {
 public:
  DeltaConverter(bool counters, bool histograms) : counters_(counters), histograms_(histograms) {}

  // The same points at the same places. Those without a difference to tell (the first of a stream with unknown start,
  // what series begin with, end marks of delta streams) have no metric and are passed over by the encoder.
  BatchPtr convert(const Batch& source) const;

  // The points of `source` in [from, to) have reached the receiver or are given up.
  void commit(const Batch& source, const BatchCursor& from, const BatchCursor& to);
  // A stream ended and its mark will not come.
  void forget(const StreamKey& stream) { last_.erase(stream); }

  std::size_t streams() const { return last_.size(); }

 private:
  struct Last {
    uint64_t start_ns = 0;  // of the stream's life
    uint64_t time_ns = 0;
    int64_t integer = 0;
    double real = 0;
    uint64_t count = 0;
    int32_t bucket_offset = 0;
    std::vector<uint64_t> buckets;
  };
  using Table = std::unordered_map<StreamKey, Last, StreamKeyHash>;

  bool is_delta(const Point& point) const;
  static bool is_zero(const Point& point);
  static Last remembered(const Batch& source, const Point& point);
  // Makes `point` (a copy in `out`) the difference to `last`, which may be null. False: nothing to tell.
  static bool subtract(Batch& out, Point& point, const Last* last);

  const bool counters_;
  const bool histograms_;
  Table last_;
};

}  // namespace sonde
