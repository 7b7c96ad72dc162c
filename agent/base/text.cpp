// SPDX-License-Identifier: Apache-2.0
#include "agent/base/text.h"

#include <algorithm>
#include <charconv>

#include <spdlog/fmt/fmt.h>

#include "agent/base/utf8.h"

namespace sonde {

namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";
constexpr std::size_t kShortestBeginning = 3;
constexpr std::size_t kLongestGuess = 64;  // longer words are not compared: the work grows with the square

char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <typename Candidate>
std::string_view nearest_of(std::string_view word, std::span<const Candidate> candidates) {
  if (word.empty() || word.size() > kLongestGuess) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const Candidate& candidate : candidates) {
    std::size_t distance = edit_distance(word, candidate);
    // All letters wrong is no guess, however short the word.
    if (distance < best_distance && distance < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (!best.empty() || word.size() < kShortestBeginning) return best;
  for (const Candidate& candidate : candidates) {
    if (equal_ignoring_case(std::string_view(candidate).substr(0, word.size()), word)) return candidate;
  }
  return {};
}

}  // namespace

std::string_view trim(std::string_view text) {
  auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::string_view part : split(text, separator)) {
    part = trim(part);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower_char);
  return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower_char, lower_char);
}

bool glob_match(std::string_view pattern, std::string_view text) {
  constexpr std::size_t kNone = std::string_view::npos;
  std::size_t p = 0, t = 0, star = kNone, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != kNone) {  // let the last star take one character more
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == kNone;
}

Result<int64_t> parse_integer(std::string_view text, int64_t min, int64_t max) {
  int64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool whole = failed == std::errc() && end == text.data() + text.size();
  if (!whole || value < min || value > max) {
    return Error(fmt::format("'{}' is not a whole number from {} to {}", one_line(text), min, max));
  }
  return value;
}

std::string one_line(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.size(), most);
  // Not into the middle of a character: its later bytes are 10xxxxxx.
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  std::string out = made_utf8(text.substr(0, end));
  std::ranges::replace_if(
      out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  if (end < text.size()) out += "…";
  return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of all prefixes: optimal string alignment.
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      char x = lower_char(a[i - 1]), y = lower_char(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y)});
      if (i > 1 && j > 1 && x == lower_char(b[j - 2]) && lower_char(a[i - 2]) == y) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  return nearest_of(word, candidates);
}

std::string_view nearest(std::string_view word, std::span<const std::string> candidates) {
  return nearest_of(word, candidates);
}

std::string join_or(std::span<const std::string_view> parts) {
  if (parts.empty()) return {};
  if (parts.size() == 1) return std::string(parts.front());
  return join(parts.first(parts.size() - 1)) + " or " + std::string(parts.back());
}

}  // namespace sonde
