// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_histogram.h"

#include <cstddef>

namespace sonde {

ClassicCounts classic_buckets(int32_t offset, const uint64_t* counts, uint32_t length) {
  ExplicitCounts single = explicit_counts(offset, {counts, length});
  ClassicCounts out{};
  uint64_t sum = 0;
  for (std::size_t i = 0; i < out.size(); i++) out[i] = sum += single[i];
  return out;
}

NativeBuckets native_buckets(int32_t offset, const uint64_t* counts, uint32_t length) {
  constexpr uint32_t kGapToWriteOut = 2;
  NativeBuckets out;
  int64_t previous = 0;
  uint32_t end = 0;  // one past the last bucket written
  for (uint32_t i = 0; i < length; i++) {
    if (counts[i] == 0) continue;
    uint32_t gap = i - end;
    if (out.spans.empty()) {
      out.spans.push_back({static_cast<int32_t>(offset + static_cast<int32_t>(i) + 1), 0});
    } else if (gap > kGapToWriteOut) {
      out.spans.push_back({static_cast<int32_t>(gap), 0});
    } else {
      for (; end < i; end++) {
        out.deltas.push_back(-previous);
        previous = 0;
        out.spans.back().length++;
      }
    }
    int64_t count = static_cast<int64_t>(counts[i]);
    out.deltas.push_back(count - previous);
    previous = count;
    out.spans.back().length++;
    end = i + 1;
  }
  return out;
}

}  // namespace sonde
