// SPDX-License-Identifier: Apache-2.0
// What fuzz targets share: the input in pieces, and a check that stays on in every build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace sonde::fuzz {

// A property that must hold whatever the input; libFuzzer keeps the input that breaks it.
inline void require(bool condition, int line = __builtin_LINE()) {
  if (condition) return;
  std::fprintf(stderr, "ERROR: the property in line %d does not hold\n", line);
  std::abort();
}

// Takes numbers and words off the front of an input. Past the end: zeros and empty words.
class Input {
 public:
  Input(const uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

  uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }

  uint64_t number(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | byte();
    return value;
  }

  // Up to and without the next `end`, which is eaten; all of the rest if there is none.
  std::string word(char end = '\n') {
    const std::size_t at = rest_.find(end);
    std::string out(rest_.substr(0, at));
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + 1);
    return out;
  }

 private:
  std::string_view rest_;
};

}  // namespace sonde::fuzz
