// SPDX-License-Identifier: Apache-2.0
// The three clocks, in nanoseconds. Which one a number speaks of is part of its name or comment.
#pragma once

#include <time.h>

#include <cstdint>

namespace sonde {

inline uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

inline uint64_t realtime_ns() { return clock_ns(CLOCK_REALTIME); }    // Unix time: what is exported
inline uint64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }  // for waiting and measuring
inline uint64_t boottime_ns() { return clock_ns(CLOCK_BOOTTIME); }    // runs on through suspend: ages of kernel things

}  // namespace sonde
