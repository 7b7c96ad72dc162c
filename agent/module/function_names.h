// SPDX-License-Identifier: Apache-2.0
// Names of declared functions as numbers, for the keys that the kernel side counts by. A number is never given to another
// name as long as the agent runs: counts that are on their way keep their meaning.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sonde {

inline constexpr uint32_t kMostFunctionNames = 16'384;

// Any thread. The same name has the same number; nullopt when there is no number left.
std::optional<uint16_t> function_number(std::string_view name);
// The view lives as long as the program; empty if nobody has this number.
std::string_view function_name(uint32_t number);

}  // namespace sonde
