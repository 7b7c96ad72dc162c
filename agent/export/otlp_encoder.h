// SPDX-License-Identifier: Apache-2.0
// Batch → bytes of an ExportMetricsServiceRequest (collector/metrics/v1), without generated classes in between. The
// golden test decodes it with them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/export/batch_walk.h"
#include "agent/export/otlp_options.h"
#include "agent/pipeline/batch.h"

namespace sonde {

inline constexpr std::string_view kScopeName = "sonde";
inline constexpr std::string_view kSchemaUrl = "https://opentelemetry.io/schemas/1.44.0";
inline constexpr int kHistogramScale = 2;

struct EncodeOptions {
  OtlpHistograms histograms = OtlpHistograms::Exponential;
  bool delta_counters = false;  // what the points are, not what they are to become
  bool delta_histograms = false;
  bool promote = false;  // Resource::promoted on each point, unless the point has that key
  uint64_t max_bytes = 3'670'016;
};

struct EncodedRequest {
  std::string bytes;
  uint32_t points = 0;  // 0: nothing was left to encode, bytes are empty
};

class OtlpEncoder {
 public:
  explicit OtlpEncoder(EncodeOptions options) : options_(options) {}

  // The next request of at most `max_bytes` (at least one point), from `at` on; moves `at` behind it.
  EncodedRequest encode(const Batch& batch, BatchCursor& at, uint64_t max_bytes);
  EncodedRequest encode(const Batch& batch, BatchCursor& at) { return encode(batch, at, options_.max_bytes); }

  const EncodeOptions& options() const { return options_; }
  // Strings that were not valid UTF-8 and had bytes replaced by '?'.
  uint64_t repaired_strings() const { return repaired_; }

 private:
  EncodeOptions options_;
  uint64_t repaired_ = 0;
  uint64_t expected_ = 0;  // bytes of the next request: as many as the last one had, and a bit
};

}  // namespace sonde
