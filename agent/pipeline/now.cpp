// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/now.h"

#include "agent/base/clock.h"

namespace sonde {

Now Now::read() { return {boottime_ns(), realtime_ns()}; }

uint64_t Now::real_of(uint64_t boot) const {
  if (boot >= boot_ns) return real_ns + (boot - boot_ns);
  const uint64_t age = boot_ns - boot;
  return age < real_ns ? real_ns - age : 1;
}

}  // namespace sonde
