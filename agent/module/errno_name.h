// SPDX-License-Identifier: Apache-2.0
// Names of errnos as attribute values (error.type).
#pragma once

#include <cstdint>
#include <string_view>

namespace sonde {

// "ENOENT"; "_OTHER" for a number that is no errno. Valid as long as the program runs.
std::string_view errno_name(uint32_t number);

}  // namespace sonde
