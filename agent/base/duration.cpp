// SPDX-License-Identifier: Apache-2.0
#include "agent/base/duration.h"

#include <array>
#include <charconv>
#include <limits>

#include <spdlog/fmt/fmt.h>

#include "agent/base/text.h"

namespace sonde {

namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array<Unit, 6> kDurations{{{"h", 3600 * kSecond},
                                          {"m", 60 * kSecond},
                                          {"s", kSecond},
                                          {"ms", kMillisecond},
                                          {"us", kMicrosecond},
                                          {"ns", 1}}};
constexpr std::array<Unit, 9> kSizes{{{"TiB", 1ULL << 40},
                                      {"TB", 1'000'000'000'000},
                                      {"GiB", 1ULL << 30},
                                      {"GB", 1'000'000'000},
                                      {"MiB", 1ULL << 20},
                                      {"MB", 1'000'000},
                                      {"KiB", 1ULL << 10},
                                      {"KB", 1'000},
                                      {"B", 1}}};

constexpr std::string_view kDigits = "0123456789";

// Takes "12" or "1.5" from the front; false if there is none or it does not fit.
bool take_number(std::string_view& text, uint64_t& whole, double& fraction) {
  auto length = std::min(text.find_first_not_of(kDigits), text.size());
  auto [end, failed] = std::from_chars(text.data(), text.data() + length, whole);
  if (failed != std::errc()) return false;
  text.remove_prefix(length);
  fraction = 0;
  if (text.empty() || text.front() != '.') return true;
  length = std::min(text.find_first_not_of(kDigits, 1), text.size());
  if (length < 2 || length > 19) return false;
  double scale = 0.1;
  for (char c : text.substr(1, length - 1)) {
    fraction += (c - '0') * scale;
    scale /= 10;
  }
  text.remove_prefix(length);
  return true;
}

// total += number × factor; false if that does not fit.
bool add_scaled(uint64_t& total, uint64_t whole, double fraction, uint64_t factor) {
  uint64_t part = 0;
  if (__builtin_mul_overflow(whole, factor, &part)) return false;
  if (__builtin_add_overflow(part, static_cast<uint64_t>(fraction * static_cast<double>(factor) + 0.5), &part)) {
    return false;
  }
  return !__builtin_add_overflow(total, part, &total);
}

Error not_a_duration(std::string_view text) {
  return Error(fmt::format("'{}' is not a duration: write for example 10s, 1m30s or 250ms", one_line(text)));
}

Error not_a_size(std::string_view text) {
  return Error(fmt::format("'{}' is not a size: write for example 64MiB, 10MB or 4096", one_line(text)));
}

}  // namespace

Result<uint64_t> parse_duration(std::string_view text, PlainNumber plain) {
  std::string_view rest = trim(text);
  const std::string_view all = rest;
  uint64_t total = 0;
  std::size_t next_unit = 0;
  if (rest.empty()) return not_a_duration(text);
  while (!rest.empty()) {
    uint64_t whole = 0;
    double fraction = 0;
    bool first = rest.size() == all.size();
    if (!take_number(rest, whole, fraction)) return not_a_duration(text);
    std::string_view name = rest.substr(0, std::min(rest.find_first_of("0123456789. "), rest.size()));
    if (name.empty()) {
      if (!first || !rest.empty()) return not_a_duration(text);
      bool zero = whole == 0 && fraction == 0;
      if (plain == PlainNumber::Refused && !zero) return not_a_duration(text);
      uint64_t factor = plain == PlainNumber::Milliseconds ? kMillisecond : kSecond;
      if (!add_scaled(total, whole, fraction, factor)) return not_a_duration(text);
      return total;
    }
    while (next_unit < kDurations.size() && kDurations[next_unit].name != name) ++next_unit;
    if (next_unit == kDurations.size()) return not_a_duration(text);
    if (!add_scaled(total, whole, fraction, kDurations[next_unit].factor)) return not_a_duration(text);
    ++next_unit;
    rest.remove_prefix(name.size());
  }
  return total;
}

std::string format_duration(uint64_t ns) {
  std::string out;
  for (const Unit& unit : kDurations) {
    if (ns >= unit.factor) {
      out += fmt::format("{}{}", ns / unit.factor, unit.name);
      ns %= unit.factor;
    }
  }
  return out.empty() ? "0s" : out;
}

Result<uint64_t> parse_bytes(std::string_view text) {
  std::string_view rest = trim(text);
  uint64_t whole = 0, total = 0, factor = 1;
  double fraction = 0;
  if (!take_number(rest, whole, fraction)) return not_a_size(text);
  rest = trim(rest);
  if (!rest.empty()) {
    factor = 0;
    for (const Unit& unit : kSizes) {
      if (equal_ignoring_case(unit.name, rest)) factor = unit.factor;
    }
  }
  if (factor == 0 || (factor == 1 && fraction != 0)) return not_a_size(text);
  if (!add_scaled(total, whole, fraction, factor)) return not_a_size(text);
  return total;
}

std::string format_bytes(uint64_t bytes) {
  for (const Unit& unit : kSizes) {
    if (bytes >= unit.factor && bytes % unit.factor == 0) return fmt::format("{}{}", bytes / unit.factor, unit.name);
  }
  return "0B";
}

}  // namespace sonde
