// SPDX-License-Identifier: Apache-2.0
// The configuration in force, as a file that could be used again.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/config/setting_types.h"

namespace sonde {

namespace {

constexpr std::string_view kRedacted = "<redacted>";

// As a YAML scalar: plain where nothing in it could be taken for something else.
std::string scalar(std::string_view text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
  bool plain = !text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos && text.front() != '-' &&
               text.front() != '.';
  if (plain) return std::string(text);
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string map_value(const Setting& setting, const std::string& text) {
  auto pairs = setting::parse_pairs(text);
  std::vector<std::string> items;
  if (pairs) {
    for (const auto& [key, value] : *pairs) {
      items.push_back(scalar(key) + ": " + scalar(setting.secret ? kRedacted : std::string_view(value)));
    }
  }
  return "{" + join(items) + "}";
}

std::string value_of(const Setting& setting, const Config& config) {
  std::string text = setting.get(config);
  if (setting.type == SettingType::Map) return map_value(setting, text);
  if (setting.secret) return scalar(text.empty() ? "" : kRedacted);
  if (setting.type != SettingType::List) return scalar(text);
  std::vector<std::string> items;
  for (const std::string& item : split_list(text)) items.push_back(scalar(item));
  return "[" + join(items) + "]";
}

}  // namespace

std::string render_config(const LoadedConfig& loaded) {
  std::string out;
  std::vector<std::string_view> open;  // the maps that the last line stands in
  for (const Setting& setting : settings()) {
    auto parts = split(setting.name, '.');
    std::size_t depth = 0;
    while (depth < open.size() && depth + 1 < parts.size() && open[depth] == parts[depth]) ++depth;
    open.resize(depth);
    for (; depth + 1 < parts.size(); ++depth) {
      out += fmt::format("{}{}:\n", std::string(2 * depth, ' '), parts[depth]);
      open.push_back(parts[depth]);
    }
    auto source = loaded.sources.find(setting.name);
    out += fmt::format("{}{}: {}  # {}\n", std::string(2 * depth, ' '), parts.back(), value_of(setting, loaded.config),
                       source == loaded.sources.end() ? "default" : source->second);
  }
  return out;
}

}  // namespace sonde
