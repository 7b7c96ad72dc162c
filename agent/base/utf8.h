// SPDX-License-Identifier: Apache-2.0
// Receivers refuse a whole request for one invalid byte, so every string that leaves is checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sonde {

bool is_ascii(std::string_view text);
bool is_utf8(std::string_view text);
// Each byte that belongs to no valid character becomes '?': the length stays.
std::string made_utf8(std::string_view text);

}  // namespace sonde
