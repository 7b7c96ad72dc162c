// SPDX-License-Identifier: Apache-2.0
// Lists of words in a policy.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace sonde {

inline bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

}  // namespace sonde
