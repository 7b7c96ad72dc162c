// SPDX-License-Identifier: Apache-2.0
// Numbers in the small text files of sysfs and cgroups, for Module::read.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sonde {

// The number that the text starts with.
inline std::optional<uint64_t> leading_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// The value of a key in a flat-keyed file of a cgroup ("nr_periods 12\nnr_throttled 3\n").
inline std::optional<uint64_t> value_of_key(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
      return leading_number(line.substr(key.size() + 1));
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return std::nullopt;
}

}  // namespace sonde
