// SPDX-License-Identifier: Apache-2.0
#include "agent/base/utf8.h"

#include <cstring>

namespace sonde {
namespace {

// Length of the valid character (Unicode 15, table 3-7) at the front; 0 if there is none.
size_t character(std::string_view text) {
  const auto at = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto next = [&](size_t i) { return (at(i) & 0xc0) == 0x80; };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return next(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (first == 0xe0 && at(1) < 0xa0) return 0;  // too long a form
    if (first == 0xed && at(1) > 0x9f) return 0;  // surrogates
    return next(1) && next(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (first == 0xf0 && at(1) < 0x90) return 0;
    if (first == 0xf4 && at(1) > 0x8f) return 0;  // beyond U+10FFFF
    return next(1) && next(2) && next(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_ascii(std::string_view text) {
  const char* p = text.data();
  size_t left = text.size();
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    if (word & 0x8080808080808080ULL) return false;
  }
  unsigned char all = 0;
  for (; left > 0; left--, p++) all = static_cast<unsigned char>(all | static_cast<unsigned char>(*p));
  return all < 0x80;
}

bool is_utf8(std::string_view text) {
  if (is_ascii(text)) return true;
  while (!text.empty()) {
    const size_t length = character(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string made_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = character(text);
    if (length == 0) {
      out += '?';
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

}  // namespace sonde
