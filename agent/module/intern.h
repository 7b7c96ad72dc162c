// SPDX-License-Identifier: Apache-2.0
// Attribute values are views that live as long as the program. Names that are found at run time (a device, an interrupt,
// a lock) are put here once for that.
#pragma once

#include <string_view>

namespace sonde {

inline constexpr std::size_t kMostInterned = 8192;      // names; further ones become "other"
inline constexpr std::size_t kMostInternedBytes = 128;  // of one name; the rest is cut off

// The same text, permanently. Any thread. Never intern text that a container controls: the table is bounded.
std::string_view intern(std::string_view text);

}  // namespace sonde
