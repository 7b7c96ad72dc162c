// SPDX-License-Identifier: Apache-2.0
// Strict reading of a YamlNode: every value has a type, a range and a place; whatever is wrong becomes one sentence
// with the place, the wrong word, the nearest right one and what is allowed. Reading goes on after a problem, so that
// all of a file are found at once.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/yaml_tree.h"

namespace sonde {

class Problems {
 public:
  static constexpr std::size_t kMost = 50;

  explicit Problems(std::string file) : file_(std::move(file)) {}
  void add(const YamlNode& at, const std::string& sentence);
  const std::vector<std::string>& sentences() const { return sentences_; }
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  std::vector<std::string> sentences_;
};

// ", did you mean 'x'" or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

// A map with known fields. `path` is how messages call it: "spec.collection"; empty for a
// whole policy.
class MapReader {
 public:
  MapReader(const YamlNode& node, std::string path, Problems& problems);

  // Unknown fields become problems.
  void allow(std::span<const std::string_view> fields);

  const YamlNode* find(std::string_view field) const;             // not null and not empty
  bool missing(std::string_view field, std::string_view advice);  // reports it

  std::optional<std::string> text(std::string_view field);
  std::optional<bool> boolean(std::string_view field);
  // However it is written: 0x10, 1_000, 5.0 (yaml_scalar.h). `unit` is for people: "seconds". A value with a unit is refused,
  // with what to write instead.
  std::optional<int64_t> integer(std::string_view field, int64_t min, int64_t max, std::string_view unit = {});
  // Index of the word among the allowed ones.
  std::optional<std::size_t> word(std::string_view field, std::span<const std::string_view> allowed);
  std::optional<std::vector<std::string>> texts(std::string_view field, std::size_t most);
  std::optional<std::map<std::string, std::string>> labels(std::string_view field);
  // A map of texts with any keys: what is none becomes a problem. That of an object's metadata, which nobody here reads.
  void only_texts(std::string_view field);
  std::vector<MapReader> maps(std::string_view field, std::size_t most);
  std::optional<MapReader> map(std::string_view field);
  // Scalars; empty ones only if they are allowed.
  std::vector<const YamlNode*> items(std::string_view field, std::size_t most, bool empty_too = false);

  std::string name_of(std::string_view field) const;
  const YamlNode& node() const { return *node_; }
  const std::string& path() const { return path_; }
  Problems& problems() { return *problems_; }

 private:
  std::string title() const;
  void refuse(const YamlNode& at, std::string_view field, const std::string& wanted);
  bool is_text(const YamlNode& node, const std::string& name);  // reports it if it is not
  // Empty if it is absent, no list, or too long, which is then told.
  const std::vector<YamlNode>& list(std::string_view field, std::size_t most);

  const YamlNode* node_;  // an empty map if it was none: that problem has been told
  std::string path_;
  Problems* problems_;
  bool broken_ = false;  // was no map
};

}  // namespace sonde
