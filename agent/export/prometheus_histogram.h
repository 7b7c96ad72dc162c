// SPDX-License-Identifier: Apache-2.0
// Exponential histograms of scale 2 as Prometheus wants them: classic buckets for text, spans and deltas for protobuf.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "agent/export/explicit_bounds.h"

namespace sonde {

// Cumulative counts, one per bound of kExplicitBounds: the same buckets as in OTLP's explicit histograms. `counts[i]`
// belongs to OTLP index offset + i. What lies above the last bound is only in the histogram's count.
using ClassicCounts = std::array<uint64_t, kExplicitBounds.size()>;
ClassicCounts classic_buckets(int32_t offset, const uint64_t* counts, uint32_t length);

struct NativeSpan {
  int32_t offset;  // first: Prometheus index of its first bucket (OTLP index + 1); others: gap to the one before
  uint32_t length;
};

struct NativeBuckets {
  std::vector<NativeSpan> spans;
  std::vector<int64_t> deltas;
};

// Gaps of one or two empty buckets are written out: cheaper than another span.
NativeBuckets native_buckets(int32_t offset, const uint64_t* counts, uint32_t length);

}  // namespace sonde
