// SPDX-License-Identifier: Apache-2.0
#include "agent/config/yaml_scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string>
#include <string_view>

namespace sonde {
namespace {

// The words of YAML 1.1, in the three ways to write them, and its letters. YAML 1.2 knows only true and false.
constexpr std::array<std::string_view, 11> kTrue{"true", "True", "TRUE", "yes", "Yes", "YES",
                                                 "on",   "On",   "ON",   "y",   "Y"};
constexpr std::array<std::string_view, 11> kFalse{"false", "False", "FALSE", "no", "No", "NO",
                                                  "off",   "Off",   "OFF",   "n",  "N"};
constexpr std::array<std::string_view, 5> kNull{"", "~", "null", "Null", "NULL"};

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// 0x1F, 0o17, 0b101, and 017, which is octal too.
std::optional<int64_t> whole_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
    text.remove_prefix(letter == 'x' || letter == 'b' || letter == 'o' ? 2 : 1);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  constexpr uint64_t kMost = INT64_MAX;
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > kMost) return {};
  return negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

// -1.5e+3, .5, 5.
std::optional<double> decimal_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const bool begins = !text.empty() && (is_digit(text[0]) || text[0] == '.');
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!begins || error != std::errc() || end != text.data() + text.size()) return {};
  return negative ? -value : value;
}

ScalarValue number(std::optional<int64_t> integer) {
  ScalarValue value;
  value.type = ScalarType::Number;
  value.integer = integer;
  return value;
}

ScalarValue plain_value(std::string_view text) {
  ScalarValue value;
  value.truth = is_one_of(text, kTrue);
  if (value.truth || is_one_of(text, kFalse)) value.type = ScalarType::Boolean;
  if (is_one_of(text, kNull)) value.type = ScalarType::Null;
  if (value.type != ScalarType::Text) return value;
  const bool may_be_number = is_digit(text[0]) || text[0] == '+' || text[0] == '-' || text[0] == '.';
  if (!may_be_number) return value;
  std::string_view bare = text;
  if (text[0] == '+' || text[0] == '-') bare.remove_prefix(1);
  for (const std::string_view word : {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"}) {
    if (bare == word) return number({});
  }
  // Underscores may stand anywhere behind the first character, as in 1_000.
  std::string digits(text);
  if (text[0] != '.') std::erase(digits, '_');
  if (const auto whole = whole_number(digits)) return number(*whole);
  const auto decimal = decimal_number(digits);
  if (!decimal) return value;
  constexpr double kMost = 9.2e18;
  const bool whole = std::nearbyint(*decimal) == *decimal && std::abs(*decimal) < kMost;
  return number(whole ? std::optional<int64_t>(static_cast<int64_t>(*decimal)) : std::nullopt);
}

}  // namespace

ScalarValue scalar_value(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::Null) return {.type = ScalarType::Null, .truth = false, .integer = {}};
  if (node.quoted || node.kind != YamlNode::Kind::Scalar) return {};
  return plain_value(node.text);
}

}  // namespace sonde
