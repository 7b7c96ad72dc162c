// SPDX-License-Identifier: Apache-2.0
#include "agent/config/yaml_reader.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/config/yaml_scalar.h"

namespace sonde {

namespace {

const YamlNode& empty_map() {
  static const YamlNode kEmpty = [] {
    YamlNode node;
    node.kind = YamlNode::Kind::Map;
    return node;
  }();
  return kEmpty;
}

// "30s" where whole seconds are wanted: says "write 30".
std::string without_unit(const YamlNode& node, int64_t min, int64_t max, std::string_view unit) {
  uint64_t one = unit == "seconds" ? kSecond : unit == "microseconds" ? kMicrosecond : 0;
  if (one == 0 || node.kind != YamlNode::Kind::Scalar) return {};
  auto duration = parse_duration(node.text);
  if (!duration || *duration % one != 0) return {};
  auto value = static_cast<int64_t>(*duration / one);
  return value >= min && value <= max ? fmt::format(", write {}", value) : "";
}

}  // namespace

void Problems::add(const YamlNode& at, const std::string& sentence) {
  if (sentences_.size() >= kMost) return;
  sentences_.push_back(fmt::format("{}:{}:{}: {}", file_, at.line, at.column, one_line(sentence, std::string::npos)));
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view near = nearest(word, candidates);
  return near.empty() ? "" : fmt::format(", did you mean '{}'", near);
}

MapReader::MapReader(const YamlNode& node, std::string path, Problems& problems)
    : node_(&node), path_(std::move(path)), problems_(&problems) {
  if (node.kind == YamlNode::Kind::Map) return;
  // "spec:" with nothing below it is an empty map.
  if (node.kind != YamlNode::Kind::Null) {
    problems.add(node, fmt::format("{} must be a map of fields, not {}", title(), describe(node)));
    broken_ = true;
  }
  node_ = &empty_map();
}

void MapReader::allow(std::span<const std::string_view> fields) {
  for (const auto& [key, value] : node_->entries) {
    if (std::ranges::find(fields, std::string_view(key.text)) != fields.end()) continue;
    problems_->add(key, fmt::format("{} has no field {}{} (allowed: {})", title(), describe(key),
                                    did_you_mean(key.text, fields), join(fields)));
  }
}

const YamlNode* MapReader::find(std::string_view field) const {
  const YamlNode* found = node_->find(field);
  return found && found->kind != YamlNode::Kind::Null ? found : nullptr;
}

bool MapReader::missing(std::string_view field, std::string_view advice) {
  if (find(field)) return false;
  if (broken_) return true;
  problems_->add(*node_, fmt::format("{} is missing, {}", name_of(field), advice));
  return true;
}

std::string MapReader::title() const { return path_.empty() ? "a policy" : path_; }

std::string MapReader::name_of(std::string_view field) const {
  return path_.empty() ? std::string(field) : fmt::format("{}.{}", path_, field);
}

void MapReader::refuse(const YamlNode& at, std::string_view field, const std::string& wanted) {
  problems_->add(at, fmt::format("{} must be {}, not {}", name_of(field), wanted, describe(at)));
}

// 5, yes and 1e3 are no texts: Kubernetes would refuse them too.
bool MapReader::is_text(const YamlNode& node, const std::string& name) {
  if (node.kind != YamlNode::Kind::Scalar) {
    problems_->add(node, fmt::format("{} must be a string, not {}", name, describe(node)));
    return false;
  }
  const ScalarType type = scalar_value(node).type;
  if (type == ScalarType::Text) return true;
  problems_->add(node,
                 fmt::format("{} must be a string, and {} without quotes is {}: write \"{}\"", name, describe(node),
                             type == ScalarType::Boolean ? "true or false" : "a number", one_line(node.text)));
  return false;
}

std::optional<std::string> MapReader::text(std::string_view field) {
  const YamlNode* value = find(field);
  if (!value) return {};
  if (value->kind == YamlNode::Kind::Scalar && value->text.empty()) {
    refuse(*value, field, "a text");
  } else if (is_text(*value, name_of(field))) {
    return value->text;
  }
  return {};
}

std::optional<bool> MapReader::boolean(std::string_view field) {
  const YamlNode* value = find(field);
  if (!value) return {};
  const ScalarValue scalar = scalar_value(*value);
  if (scalar.type == ScalarType::Boolean) return scalar.truth;
  refuse(*value, field, "true or false");
  return {};
}

std::optional<int64_t> MapReader::integer(std::string_view field, int64_t min, int64_t max, std::string_view unit) {
  const YamlNode* value = find(field);
  if (!value) return {};
  const auto number = scalar_value(*value).integer;
  if (number && *number >= min && *number <= max) return number;
  std::string of = unit.empty() ? "" : fmt::format(" of {}", unit);
  problems_->add(*value, fmt::format("{} must be a whole number{} from {} to {}, not {}{}", name_of(field), of, min,
                                     max, describe(*value), without_unit(*value, min, max, unit)));
  return {};
}

std::optional<std::size_t> MapReader::word(std::string_view field, std::span<const std::string_view> allowed) {
  const YamlNode* value = find(field);
  if (!value) return {};
  if (value->kind == YamlNode::Kind::Scalar) {
    auto found = std::ranges::find(allowed, std::string_view(value->text));
    if (found != allowed.end()) return static_cast<std::size_t>(found - allowed.begin());
    problems_->add(*value, fmt::format("{} must be {}, not {}{}", name_of(field), join_or(allowed), describe(*value),
                                       did_you_mean(value->text, allowed)));
    return {};
  }
  refuse(*value, field, join_or(allowed));
  return {};
}

const std::vector<YamlNode>& MapReader::list(std::string_view field, std::size_t most) {
  static const std::vector<YamlNode> none;
  const YamlNode* value = find(field);
  if (!value) return none;
  if (value->kind != YamlNode::Kind::Sequence) {
    refuse(*value, field, "a list");
    return none;
  }
  if (value->items.size() > most) {
    problems_->add(*value,
                   fmt::format("{} has {} entries, at most {} are allowed", name_of(field), value->items.size(), most));
    return none;
  }
  return value->items;
}

std::vector<const YamlNode*> MapReader::items(std::string_view field, std::size_t most, bool empty_too) {
  std::vector<const YamlNode*> result;
  for (const YamlNode& item : list(field, most)) {
    if (item.kind == YamlNode::Kind::Scalar && (empty_too || !item.text.empty())) {
      if (is_text(item, fmt::format("an entry of {}", name_of(field)))) result.push_back(&item);
    } else {
      problems_->add(item, fmt::format("{} must be a list of strings, not of {}", name_of(field), describe(item)));
    }
  }
  return result;
}

std::optional<std::vector<std::string>> MapReader::texts(std::string_view field, std::size_t most) {
  if (!find(field)) return {};
  std::vector<std::string> result;
  for (const YamlNode* item : items(field, most)) result.push_back(item->text);
  return result;
}

std::optional<std::map<std::string, std::string>> MapReader::labels(std::string_view field) {
  auto reader = map(field);
  if (!reader) return {};
  std::map<std::string, std::string> result;
  for (const auto& [key, value] : reader->node().entries) {
    const std::string name = fmt::format("{}.{}", reader->path(), key.text);
    if (value.kind == YamlNode::Kind::Null) {  // the API server would drop it, and the rest select more
      problems_->add(value, fmt::format("{} has no value: write \"\" for an empty string", name));
    } else if (is_text(key, fmt::format("a key of {}", reader->path())) && is_text(value, name)) {
      result[key.text] = value.text;
    }
  }
  return result;
}

void MapReader::only_texts(std::string_view field) {
  auto reader = map(field);
  if (!reader) return;
  for (const auto& [key, value] : reader->node().entries) {
    if (value.kind != YamlNode::Kind::Null) is_text(value, fmt::format("{}.{}", reader->path(), key.text));
  }
}

std::vector<MapReader> MapReader::maps(std::string_view field, std::size_t most) {
  std::vector<MapReader> result;
  const std::vector<YamlNode>& entries = list(field, most);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    result.emplace_back(entries[i], fmt::format("{}[{}]", name_of(field), i), *problems_);
  }
  return result;
}

std::optional<MapReader> MapReader::map(std::string_view field) {
  const YamlNode* value = node_->find(field);
  if (!value) return {};
  return MapReader(*value, name_of(field), *problems_);
}

}  // namespace sonde
