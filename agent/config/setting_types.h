// SPDX-License-Identifier: Apache-2.0
// Makes rows of the table of settings: one function per type, each knows how its values are read, checked and shown.
// `Ref` is a generic lambda from Config (const or not) to the field. Used by settings_table.cpp only.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/config/settings.h"

namespace sonde::setting {

// What most rows do not have.
struct Also {
  std::string otel;
  std::string alias;
  bool secret = false;
  bool reloadable = false;
};

using Pairs = std::vector<std::pair<std::string, std::string>>;

// k=v,k=v with percent-encoded values, as in OTEL_RESOURCE_ATTRIBUTES.
Result<Pairs> parse_pairs(std::string_view text);
std::string format_pairs(const Pairs& pairs);

Error wrong_word(std::string_view text, std::span<const std::string_view> allowed);
Result<void> check_address(std::string_view text);  // host:port, :port, [::]:port

// The rows of export.traces, behind those of export.otlp, which they follow.
void add_traces(std::vector<Setting>& table);

Setting row(std::string name, std::string flag, SettingType type, std::string help, Also also);

template <typename Ref>
Setting text(std::string name, std::string flag, Ref ref, std::string help, Also also = {}) {
  Setting s = row(std::move(name), std::move(flag), SettingType::Text, std::move(help), std::move(also));
  s.set = [ref](Config& c, std::string_view value) -> Result<void> {
    ref(c) = std::string(value);
    return {};
  };
  s.get = [ref](const Config& c) { return ref(c); };
  return s;
}

template <typename Ref>
Setting boolean(std::string name, std::string flag, Ref ref, std::string help, Also also = {}) {
  Setting s = row(std::move(name), std::move(flag), SettingType::Boolean, std::move(help), std::move(also));
  s.range = "true or false";
  s.set = [ref](Config& c, std::string_view value) -> Result<void> {
    if (value != "true" && value != "false") return Error(fmt::format("must be true or false, not '{}'", value));
    ref(c) = value == "true";
    return {};
  };
  s.get = [ref](const Config& c) { return std::string(ref(c) ? "true" : "false"); };
  return s;
}

template <typename Ref>
Setting integer(std::string name, std::string flag, Ref ref, int64_t min, int64_t max, std::string help,
                Also also = {}) {
  Setting s = row(std::move(name), std::move(flag), SettingType::Integer, std::move(help), std::move(also));
  s.range = fmt::format("from {} to {}", min, max);
  s.set = [ref, min, max](Config& c, std::string_view value) -> Result<void> {
    auto number = parse_integer(value, min, max);
    if (!number) return number.error();
    ref(c) = static_cast<std::remove_reference_t<decltype(ref(c))>>(*number);
    return {};
  };
  s.get = [ref](const Config& c) { return std::to_string(ref(c)); };
  return s;
}

// The field counts `unit` nanoseconds.
template <typename Ref>
Setting duration(std::string name, std::string flag, Ref ref, uint64_t unit, uint64_t min, uint64_t max,
                 std::string help, Also also = {}) {
  Setting s = row(std::move(name), std::move(flag), SettingType::Duration, std::move(help), std::move(also));
  s.range = fmt::format("from {} to {}", format_duration(min), format_duration(max));
  s.set = [ref, unit, min, max](Config& c, std::string_view value) -> Result<void> {
    auto ns = parse_duration(value);
    if (!ns) return ns.error();
    if (*ns < min || *ns > max || *ns % unit != 0) {
      return Error(fmt::format("must be from {} to {}{}, not '{}'", format_duration(min), format_duration(max),
                               unit == kSecond ? " in whole seconds" : "", value));
    }
    ref(c) = static_cast<std::remove_reference_t<decltype(ref(c))>>(*ns / unit);
    return {};
  };
  s.get = [ref, unit](const Config& c) { return format_duration(static_cast<uint64_t>(ref(c)) * unit); };
  return s;
}

template <typename Ref>
Setting bytes(std::string name, std::string flag, Ref ref, uint64_t min, uint64_t max, std::string help,
              Also also = {}) {
  Setting s = row(std::move(name), std::move(flag), SettingType::Bytes, std::move(help), std::move(also));
  s.range = fmt::format("from {} to {}", format_bytes(min), format_bytes(max));
  s.set = [ref, min, max](Config& c, std::string_view value) -> Result<void> {
    auto size = parse_bytes(value);
    if (!size) return size.error();
    if (*size < min || *size > max) {
      return Error(fmt::format("must be from {} to {}, not '{}'", format_bytes(min), format_bytes(max), value));
    }
    ref(c) = *size;
    return {};
  };
  s.get = [ref](const Config& c) { return format_bytes(ref(c)); };
  return s;
}

// A word that stands for a value of an enum; `values[i]` belongs to `words[i]`. Case is ignored.
template <typename Value, typename Ref>
Setting word(std::string name, std::string flag, Ref ref, std::vector<std::pair<std::string_view, Value>> values,
             std::string help, Also also = {}) {
  Setting s = row(std::move(name), std::move(flag), SettingType::Word, std::move(help), std::move(also));
  for (const auto& [allowed, value] : values) s.allowed.push_back(allowed);
  s.range = join_or(s.allowed);
  s.set = [ref, values, words = s.allowed](Config& c, std::string_view text) -> Result<void> {
    for (const auto& [allowed, value] : values) {
      if (!equal_ignoring_case(allowed, text)) continue;
      ref(c) = value;
      return {};
    }
    return wrong_word(text, words);
  };
  s.get = [ref, values](const Config& c) {
    for (const auto& [allowed, value] : values) {
      if (value == ref(c)) return std::string(allowed);
    }
    return std::string();
  };
  return s;
}

template <typename Ref>
Setting address(std::string name, std::string flag, Ref ref, std::string help, Also also = {}) {
  Setting s = text(std::move(name), std::move(flag), ref, std::move(help), std::move(also));
  s.range = "host:port, :port for all addresses, or off";
  s.set = [ref](Config& c, std::string_view value) -> Result<void> {
    if (value == "off") {
      ref(c).clear();
      return {};
    }
    if (auto good = check_address(value); !good) return good;
    ref(c) = std::string(value);
    return {};
  };
  s.get = [ref](const Config& c) { return ref(c).empty() ? "off" : ref(c); };
  return s;
}

}  // namespace sonde::setting
