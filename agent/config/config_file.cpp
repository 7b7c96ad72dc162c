// SPDX-License-Identifier: Apache-2.0
// The YAML file over the defaults: strict about keys, each problem with its place.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>

#include "agent/base/text.h"
#include "agent/config/config_layers.h"
#include "agent/config/setting_types.h"
#include "agent/config/yaml_reader.h"
#include "agent/config/yaml_tree.h"

namespace sonde {

namespace {

constexpr std::string_view kProfiles = "profiles";

std::string place(const std::string& path, const YamlNode& node) {
  return fmt::format("{}:{}:{}", path, node.line, node.column);
}

// The words that may stand below `prefix` ("export.otlp." or "").
std::vector<std::string_view> words_below(std::string_view prefix) {
  std::vector<std::string_view> words;
  for (const Setting& setting : settings()) {
    if (!setting.name.starts_with(prefix)) continue;
    std::string_view rest = std::string_view(setting.name).substr(prefix.size());
    rest = rest.substr(0, rest.find('.'));
    if (std::ranges::find(words, rest) == words.end()) words.push_back(rest);
  }
  return words;
}

class FileReader {
 public:
  FileReader(Loading& loading, const std::string& path) : loading_(loading), path_(path) {}

  void read(const YamlNode& map, const std::string& prefix) {
    auto known = words_below(prefix);
    if (prefix.empty() && !in_profile_) known.push_back(kProfiles);
    for (const auto& [key, value] : map.entries) {
      if (std::ranges::find(known, std::string_view(key.text)) == known.end()) {
        std::string where = prefix.empty() ? "the configuration" : prefix.substr(0, prefix.size() - 1);
        problem(key, fmt::format("{} has no key {}{} (allowed: {})", where, describe(key), meant(key.text, known),
                                 join(known)));
      } else if (key.text != kProfiles || !prefix.empty()) {
        read_value(prefix + key.text, value);
      }
    }
  }

  void read_profile(const YamlNode& document, std::string_view profile) {
    const YamlNode* all = document.find(kProfiles);
    if (!all || all->kind == YamlNode::Kind::Null) return;
    const auto& allowed = find_setting("profile")->allowed;
    if (all->kind != YamlNode::Kind::Map) return problem(*all, "profiles must be a map, not " + describe(*all));
    for (const auto& [key, value] : all->entries) {
      if (std::ranges::find(allowed, std::string_view(key.text)) == allowed.end()) {
        problem(key, fmt::format("profiles has no key {}{} (allowed: {})", describe(key),
                                 did_you_mean(key.text, allowed), join(allowed)));
      } else if (value.kind != YamlNode::Kind::Map && value.kind != YamlNode::Kind::Null) {
        problem(value, fmt::format("profiles.{} must be a map, not {}", key.text, describe(value)));
      } else if (key.text == profile) {
        in_profile_ = true;
        read(value, "");
      } else {
        // What another profile says is checked all the same.
        Loading aside;
        FileReader other(aside, path_);
        other.in_profile_ = true;
        other.read(value, "");
        loading_.problems.insert(loading_.problems.end(), aside.problems.begin(), aside.problems.end());
      }
    }
  }

 private:
  void problem(const YamlNode& at, const std::string& sentence) { loading_.refuse(place(path_, at) + ": " + sentence); }

  // Besides typing errors: the right word at the wrong level.
  static std::string meant(const std::string& word, std::span<const std::string_view> known) {
    std::string guess = did_you_mean(word, known);
    if (!guess.empty()) return guess;
    for (const Setting& setting : settings()) {
      std::string_view last = std::string_view(setting.name).substr(setting.name.rfind('.') + 1);
      if (equal_ignoring_case(last, word) || equal_ignoring_case(setting.flag, word)) {
        return fmt::format(", did you mean '{}'", setting.name);
      }
    }
    return {};
  }

  void read_value(const std::string& name, const YamlNode& value) {
    if (value.kind == YamlNode::Kind::Null) return;
    const Setting* setting = find_setting(name);
    if (!setting && value.kind == YamlNode::Kind::Map) return read(value, name + ".");
    if (!setting) setting = find_setting(name + ".to");  // export: [otlp, file]
    if (!setting) {
      return problem(
          value, fmt::format("{} must be a map with {}, not {}", name, join(words_below(name + ".")), describe(value)));
    }
    std::string text;
    if (!text_of(*setting, value, text)) return;
    loading_.set(*setting, text, place(path_, value) + ": " + name, fmt::format("{}:{}", path_, value.line));
  }

  bool text_of(const Setting& setting, const YamlNode& value, std::string& text) {
    if (value.kind == YamlNode::Kind::Scalar) {
      text = value.text;
      return true;
    }
    if (value.kind == YamlNode::Kind::Sequence && setting.type == SettingType::List) {
      for (const YamlNode& item : value.items) {
        if (item.kind != YamlNode::Kind::Scalar) {
          problem(item, fmt::format("{} must be a list of words, not of {}", setting.name, describe(item)));
          return false;
        }
        text += (text.empty() ? "" : ",") + item.text;
      }
      // An empty list of exporters is one without exporters.
      if (text.empty() && setting.name == "export.to") text = "none";
      return true;
    }
    if (value.kind == YamlNode::Kind::Map && setting.type == SettingType::Map) {
      setting::Pairs pairs;
      for (const auto& [key, item] : value.entries) {
        if (item.kind != YamlNode::Kind::Scalar) {
          problem(item, fmt::format("{}.{} must be a string, not {}", setting.name, key.text, describe(item)));
          return false;
        }
        pairs.emplace_back(key.text, item.text);
      }
      text = setting::format_pairs(pairs);
      return true;
    }
    std::string_view wanted = setting.type == SettingType::List  ? "a list"
                              : setting.type == SettingType::Map ? "a map"
                                                                 : "one value";
    problem(value, fmt::format("{} must be {}, not {}", setting.name, wanted, describe(value)));
    return false;
  }

  Loading& loading_;
  const std::string& path_;
  bool in_profile_ = false;
};

}  // namespace

std::string profile_in(std::string_view text, const std::string& path) {
  auto documents = parse_yaml(text, path);
  if (!documents || documents->empty()) return {};
  const YamlNode* node = documents->front().find("profile");
  return node && node->kind == YamlNode::Kind::Scalar ? node->text : "";
}

void apply_file(Loading& loading, const std::string& path, std::string_view text, std::string_view profile) {
  auto documents = parse_yaml(text, path);
  if (!documents) {
    loading.refuse(documents.error().message());
    return;
  }
  if (documents->empty()) return;
  const YamlNode& document = documents->front();
  if (documents->size() > 1) {
    loading.refuse(place(path, (*documents)[1]) + ": a configuration file must contain a single document");
  }
  if (document.kind != YamlNode::Kind::Map) {
    loading.refuse(place(path, document) + ": the configuration must be a map of keys, not " + describe(document));
    return;
  }
  FileReader reader(loading, path);
  reader.read(document, "");
  reader.read_profile(document, profile);
}

}  // namespace sonde
