// SPDX-License-Identifier: Apache-2.0
// Explicit histogram buckets for receivers that cannot read exponential ones, also the classic ones of /metrics. All
// upper bounds are powers of two of a second, which are edges of the scale-2 grid too: re-bucketing moves no sample to
// the wrong side of a bound, which decimal bounds would (docs/adr/0022-explicit-bounds.md).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace sonde {

// Seconds: each power of two from 3.8 microseconds to 16 s; above it 64 s and 256 s, for lifetimes.
inline constexpr std::array<double, 25> kExplicitBounds = {
    0x1p-18, 0x1p-17, 0x1p-16, 0x1p-15, 0x1p-14, 0x1p-13, 0x1p-12, 0x1p-11, 0x1p-10, 0x1p-9, 0x1p-8, 0x1p-7, 0x1p-6,
    0x1p-5,  0x1p-4,  0x1p-3,  0x1p-2,  0x1p-1,  0x1p0,   0x1p1,   0x1p2,   0x1p3,   0x1p4,  0x1p6,  0x1p8};
using ExplicitCounts = std::array<uint64_t, kExplicitBounds.size() + 1>;

// The explicit bucket that holds all of the exponential bucket `index` of scale 2, (2^(index/4), 2^((index+1)/4)].
constexpr std::size_t explicit_bucket(int32_t index) {
  constexpr int32_t kFirst = -18;                                         // exponent of the lowest bound
  constexpr int32_t kLastOfAll = 4;                                       // up to here each power of two is a bound
  const int32_t upper = index + 1;                                        // in quarters of an octave
  const int32_t exponent = upper >= 0 ? (upper + 3) / 4 : -(-upper / 4);  // ceil
  if (exponent <= kFirst) return 0;
  if (exponent <= kLastOfAll) return static_cast<std::size_t>(exponent - kFirst);
  const auto beyond = static_cast<std::size_t>((exponent - kLastOfAll + 1) / 2);
  return std::min(static_cast<std::size_t>(kLastOfAll - kFirst) + beyond, kExplicitBounds.size());
}

// counts[i] belongs to exponential index `offset` + i.
constexpr ExplicitCounts explicit_counts(int32_t offset, std::span<const uint64_t> counts) {
  ExplicitCounts out{};
  for (std::size_t i = 0; i < counts.size(); i++) out[explicit_bucket(offset + static_cast<int32_t>(i))] += counts[i];
  return out;
}

}  // namespace sonde
