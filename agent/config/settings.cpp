// SPDX-License-Identifier: Apache-2.0
#include "agent/config/settings.h"

#include <algorithm>

#include "agent/base/host_port.h"
#include "agent/base/percent.h"
#include "agent/config/setting_types.h"

namespace sonde {

namespace setting {

namespace {

constexpr std::string_view kPlain = "-_.~/:@ ";  // besides letters and digits

}  // namespace

Result<Pairs> parse_pairs(std::string_view text) {
  Pairs pairs;
  for (std::string_view item : split(text, ',')) {
    item = trim(item);
    if (item.empty()) continue;
    auto equals = item.find('=');
    std::string_view key = trim(item.substr(0, equals));
    // The item is not shown: it may be a secret.
    if (equals == std::string_view::npos || key.empty()) return Error("must be key=value pairs, separated by commas");
    auto name = percent_decoded(key), value = percent_decoded(trim(item.substr(equals + 1)));
    if (!name) return name.error();
    if (!value) return value.error();
    pairs.emplace_back(std::move(*name), std::move(*value));
  }
  return pairs;
}

std::string format_pairs(const Pairs& pairs) {
  std::string out;
  for (const auto& [key, value] : pairs) {
    if (!out.empty()) out += ',';
    out += percent_encoded(key, kPlain) + "=" + percent_encoded(value, kPlain);
  }
  return out;
}

Error wrong_word(std::string_view text, std::span<const std::string_view> allowed) {
  std::string_view near = nearest(text, allowed);
  return Error(fmt::format("must be {}, not '{}'{}", join_or(allowed), one_line(text),
                           near.empty() ? "" : fmt::format(", did you mean '{}'", near)));
}

Result<void> check_address(std::string_view text) {
  const auto parsed = parse_host_port(text);
  if (parsed && parsed->port && parse_integer(*parsed->port, 0, 65535)) return {};
  return Error(fmt::format("'{}' is not an address: write for example 127.0.0.1:18080, [::]:18080, :18080 or off",
                           one_line(text)));
}

Setting row(std::string name, std::string flag, SettingType type, std::string help, Also also) {
  Setting setting;
  setting.name = std::move(name);
  setting.flag = std::move(flag);
  setting.type = type;
  setting.help = std::move(help);
  setting.otel = std::move(also.otel);
  setting.alias = std::move(also.alias);
  setting.secret = also.secret;
  setting.reloadable = also.reloadable;
  return setting;
}

}  // namespace setting

std::string Setting::env() const {
  std::string variable = "SONDE_";
  for (char c : flag) variable += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return variable;
}

const Setting* find_setting(std::string_view name) {
  auto found = std::ranges::find(settings(), name, &Setting::name);
  return found == settings().end() ? nullptr : &*found;
}

std::vector<std::string> changed_settings(const Config& before, const Config& after) {
  std::vector<std::string> names;
  for (const Setting& setting : settings()) {
    if (setting.get(before) != setting.get(after)) names.push_back(setting.name);
  }
  return names;
}

std::string settings_markdown() {
  const Config defaults;
  std::string out =
      "| key in the file | flag | variable | default | allowed | description |\n|---|---|---|---|---|---|\n";
  for (const Setting& setting : settings()) {
    std::string variables = "`" + setting.env() + "`";
    if (!setting.alias.empty()) variables += ", `" + setting.alias + "`";
    for (const std::string& name : split_list(setting.otel, ' ')) variables += ", `" + name + "`";
    std::string value = setting.get(defaults);
    out += fmt::format("| `{}` | `--{}` | {} | {} | {} | {}{} |\n", setting.name, setting.flag, variables,
                       value.empty() ? "" : "`" + value + "`", setting.range, setting.help,
                       setting.reloadable ? "" : " (R)");
  }
  return out;
}

}  // namespace sonde
