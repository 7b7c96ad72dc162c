// SPDX-License-Identifier: Apache-2.0
// YAML text as a small tree in which every word knows its place. Strict and bounded: at most 1 MiB, 32 levels and
// 100,000 nodes; anchors, aliases, tags, merge keys and keys given twice are refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

inline constexpr std::size_t kYamlMaxBytes = 1 << 20;
inline constexpr int kYamlMaxDepth = 32;
inline constexpr std::size_t kYamlMaxNodes = 100'000;

struct YamlEntry;

struct YamlNode {
  enum class Kind : uint8_t { Null, Scalar, Sequence, Map };
  Kind kind = Kind::Null;
  int line = 1;  // both count from 1
  int column = 1;
  bool quoted = false;             // a scalar that cannot be a number or a boolean
  std::string text;                // of a scalar
  std::vector<YamlNode> items;     // of a sequence
  std::vector<YamlEntry> entries;  // of a map, keys are scalars

  const YamlNode* find(std::string_view key) const;
};

struct YamlEntry {
  YamlNode key;
  YamlNode value;
};

// Documents separated by ---; empty ones are left out. The error is "name:line:column: sentence".
Result<std::vector<YamlNode>> parse_yaml(std::string_view text, const std::string& name);

// In the words of people: "a list", "a map", "nothing", "'12'".
std::string describe(const YamlNode& node);

}  // namespace sonde
