// SPDX-License-Identifier: Apache-2.0
// Explicit histogram buckets for receivers that cannot read exponential ones: twelve upper bounds, all powers of two of
// a second, which are edges of the scale-2 grid too. So re-bucketing moves no sample to the wrong side of a bound.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace sonde {

inline constexpr int kExplicitFirstExponent = -18;  // 3.8 microseconds
inline constexpr int kExplicitExponentStep = 2;
inline constexpr std::array<double, 12> kExplicitBounds = {0x1p-18, 0x1p-16, 0x1p-14, 0x1p-12, 0x1p-10, 0x1p-8,
                                                           0x1p-6,  0x1p-4,  0x1p-2,  0x1p0,   0x1p2,   0x1p4};
using ExplicitCounts = std::array<uint64_t, kExplicitBounds.size() + 1>;

// The explicit bucket that holds all of the exponential bucket `index` of scale 2, (2^(index/4), 2^((index+1)/4)].
constexpr std::size_t explicit_bucket(int32_t index) {
  const int32_t upper = index + 1;                                        // in quarters of an octave
  const int32_t exponent = upper >= 0 ? (upper + 3) / 4 : -(-upper / 4);  // ceil
  const int32_t place = exponent - kExplicitFirstExponent;
  if (place <= 0) return 0;
  const auto bucket = static_cast<std::size_t>((place + kExplicitExponentStep - 1) / kExplicitExponentStep);
  return bucket < kExplicitBounds.size() ? bucket : kExplicitBounds.size();
}

// counts[i] belongs to exponential index `offset` + i.
constexpr ExplicitCounts explicit_counts(int32_t offset, std::span<const uint64_t> counts) {
  ExplicitCounts out{};
  for (std::size_t i = 0; i < counts.size(); i++) out[explicit_bucket(offset + static_cast<int32_t>(i))] += counts[i];
  return out;
}

}  // namespace sonde
