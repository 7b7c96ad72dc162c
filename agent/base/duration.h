// SPDX-License-Identifier: Apache-2.0
// Durations and sizes as people write them: "10s", "1m30s", "250ms"; "64MiB", "10MB".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde {

inline constexpr uint64_t kMicrosecond = 1'000;
inline constexpr uint64_t kMillisecond = 1'000'000;
inline constexpr uint64_t kSecond = 1'000'000'000;

// What a number without unit means.
enum class PlainNumber : uint8_t { Refused, Seconds, Milliseconds };

// Nanoseconds. Units h, m, s, ms, us, ns, largest first, each once; a fraction is allowed ("1.5s"). "0" is always good.
Result<uint64_t> parse_duration(std::string_view text, PlainNumber plain = PlainNumber::Refused);

// Shortest exact form that parse_duration reads: "1m30s", "250ms", "0s".
std::string format_duration(uint64_t ns);

// Bytes. Units B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024); no unit: bytes.
Result<uint64_t> parse_bytes(std::string_view text);

// In the largest unit that leaves a whole number: "64MiB", "10MB", "1500B".
std::string format_bytes(uint64_t bytes);

}  // namespace sonde
