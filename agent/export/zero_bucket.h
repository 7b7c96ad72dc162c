// SPDX-License-Identifier: Apache-2.0
// The kernel's lowest bucket holds what is not longer than 2^-30 s, a wait of 0 ns included. An exponential bucket begins
// above zero, so OTLP and Prometheus have a bucket of its own for that: "zero_count", up to and with "zero_threshold".
#pragma once

#include <cstdint>
#include <span>

#include "sonde/histogram.h"

namespace sonde {

inline constexpr double kZeroThreshold = 0x1p-30;  // s; an edge of the scale-2 grid
inline constexpr int32_t kZeroIndex = SONDE_HIST_OFFSET;
static_assert(kZeroIndex + 1 == -30 << SONDE_HIST_SCALE, "the lowest bucket ends at the threshold");

struct WithoutZero {
  uint64_t zero = 0;
  int32_t offset = 0;                // of counts[0]
  std::span<const uint64_t> counts;  // the positive buckets
};

// Takes the zero bucket out of a dense run whose element i is OTLP index `offset` + i.
constexpr WithoutZero without_zero(int32_t offset, std::span<const uint64_t> counts) {
  if (offset != kZeroIndex || counts.empty()) return {0, offset, counts};
  WithoutZero out{counts.front(), offset + 1, counts.subspan(1)};
  // Runs begin with a bucket that is not empty.
  while (!out.counts.empty() && out.counts.front() == 0) {
    out.counts = out.counts.subspan(1);
    ++out.offset;
  }
  return out;
}

}  // namespace sonde
