// SPDX-License-Identifier: Apache-2.0
// Small work on words: taking apart, putting together, comparing, and guessing what was meant.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

std::string_view trim(std::string_view text);  // ASCII white space at both ends

// All parts, empty ones too: "a,,b" has three.
std::vector<std::string_view> split(std::string_view text, char separator);
// Parts of a list that a person wrote: trimmed, without empty ones.
std::vector<std::string> split_list(std::string_view text, char separator = ',');

std::string lower(std::string_view text);  // ASCII
bool equal_ignoring_case(std::string_view a, std::string_view b);

// `*` stands for any characters, `/` included, `?` for one, everything else for itself. Time is bounded by
// length of pattern × length of text.
bool glob_match(std::string_view pattern, std::string_view text);

// A whole decimal number in [min, max]; the error names the range.
Result<int64_t> parse_integer(std::string_view text, int64_t min, int64_t max);

// The candidate that was probably meant, or empty if none is near: at most one typing error in three letters, case
// ignored; a swap of neighbours is one error. The first of equally near ones; else the first that begins with the word.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);
std::string_view nearest(std::string_view word, std::span<const std::string> candidates);

// Number of typing errors between two words, case ignored.
std::size_t edit_distance(std::string_view a, std::string_view b);

template <typename Range>
std::string join(const Range& parts, std::string_view separator = ", ") {
  std::string out;
  bool first = true;
  for (const auto& part : parts) {
    if (!first) out += separator;
    out += part;
    first = false;
  }
  return out;
}

// Foreign text as part of a sentence that is one line of UTF-8: control characters become blanks, bytes that are no
// character '?', and what is longer than `most` bytes is cut before a character and ends with '…'.
inline constexpr std::size_t kQuoted = 80;
std::string one_line(std::string_view text, std::size_t most = kQuoted);

// "a, b or c"
std::string join_or(std::span<const std::string_view> parts);

}  // namespace sonde
