// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/label_syntax.h"

#include <algorithm>

namespace sonde {
namespace {

constexpr std::size_t kMostName = 63;
constexpr std::size_t kMostDomain = 253;

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_letter_or_digit(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

// Ends of one kind of characters, between them some others as well.
bool is_word(std::string_view text, std::size_t most, bool (*end)(char), std::string_view within) {
  return !text.empty() && text.size() <= most && end(text.front()) && end(text.back()) &&
         std::ranges::all_of(text, [&](char c) { return end(c) || within.find(c) != std::string_view::npos; });
}

}  // namespace

bool is_label_key(std::string_view text) {
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    if (!is_word(text.substr(0, slash), kMostDomain, is_lower_or_digit, "-.")) return false;
    text.remove_prefix(slash + 1);
  }
  return is_word(text, kMostName, is_letter_or_digit, "-_.");
}

bool is_label_value(std::string_view text) {
  return text.empty() || is_word(text, kMostName, is_letter_or_digit, "-_.");
}

bool is_container_name(std::string_view text) { return is_word(text, kMostName, is_lower_or_digit, "-"); }

}  // namespace sonde
