// SPDX-License-Identifier: Apache-2.0
// One instant on both clocks. Ages and periods are counted on CLOCK_BOOTTIME, which nobody sets; CLOCK_REALTIME is only
// what is written on points.
#pragma once

#include <cstdint>

namespace sonde {

struct Now {
  uint64_t boot_ns = 0;  // CLOCK_BOOTTIME
  uint64_t real_ns = 0;  // CLOCK_REALTIME

  static Now read();

  // When was that, on CLOCK_REALTIME as it is set now?
  uint64_t real_of(uint64_t boot) const;
};

}  // namespace sonde
