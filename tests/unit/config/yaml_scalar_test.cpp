// SPDX-License-Identifier: Apache-2.0
#include "agent/config/yaml_scalar.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"

namespace sonde {
namespace {

YamlNode plain(const std::string& text) {
  auto documents = parse_yaml("v: " + text, "f.yaml");
  const YamlNode* value = documents && !documents->empty() ? documents->front().find("v") : nullptr;
  EXPECT_TRUE(value) << text;
  return value ? *value : YamlNode();
}

// `json`: what Kubernetes makes of it.
void expect_as_in_kubernetes(const std::string& text, const nlohmann::json& json) {
  const ScalarValue value = scalar_value(plain(text));
  const ScalarType type = json.is_string()    ? ScalarType::Text
                          : json.is_null()    ? ScalarType::Null
                          : json.is_boolean() ? ScalarType::Boolean
                                              : ScalarType::Number;
  EXPECT_EQ(value.type, type) << text;
  if (json.is_boolean()) {
    EXPECT_EQ(value.truth, json.get<bool>()) << text;
  }
  const bool fits = json.is_number_integer() && (!json.is_number_unsigned() || json.get<uint64_t>() <= INT64_MAX);
  if (fits && json != INT64_MIN) {
    ASSERT_TRUE(value.integer) << text;
    EXPECT_EQ(*value.integer, json.get<int64_t>()) << text;
  } else if (json.is_number()) {
    EXPECT_FALSE(value.integer) << text;
  }
}

TEST(YamlScalar, AsKubernetesReadsIt) {
  std::ifstream golden(std::string(SONDE_SOURCE_DIR) + "/tests/golden/yaml_scalars.txt");
  int lines = 0;
  for (std::string line; std::getline(golden, line);) {
    if (line.starts_with('#')) continue;
    const auto tab = line.find('\t');
    ASSERT_NE(tab, std::string::npos) << line;
    const std::string text = line.substr(0, tab), json = line.substr(tab + 1);
    ++lines;
    if (json == "!") {  // infinity and the like: no number that a policy could have, and no text either
      EXPECT_EQ(scalar_value(plain(text)).type, ScalarType::Number) << text;
      EXPECT_FALSE(scalar_value(plain(text)).integer) << text;
    } else {
      expect_as_in_kubernetes(text, parse_json<nlohmann::json>(json));
    }
  }
  EXPECT_GT(lines, 100);
}

TEST(YamlScalar, QuotedIsText) {
  for (const char* text : {"\"5\"", "'true'", "\"\"", "'~'", "|\n  5"}) {
    EXPECT_EQ(scalar_value(plain(text)).type, ScalarType::Text) << text;
  }
}

}  // namespace
}  // namespace sonde
