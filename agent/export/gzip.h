// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde {

// Level 1: what is packed is sent once, so CPU counts more than bytes. It takes less than half the work of the default level
// for a sixth more bytes (tests/bench/encode_bench.cpp). Error: no memory.
Result<std::string> gzip(std::string_view data);

}  // namespace sonde
