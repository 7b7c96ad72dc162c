// SPDX-License-Identifier: Apache-2.0
// As much of JSON Schema as the published schemas (docs/ops/*.schema.json) use.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/base/file.h"
#include "agent/base/json.h"

namespace sonde::test {

// docs/ops/<name>.schema.json; discarded if the source tree is not here.
inline nlohmann::json published_schema(const std::string& name) {
  const auto text = read_small_file(SONDE_SOURCE_DIR "/docs/ops/" + name + ".schema.json");
  return parse_json<nlohmann::json>(text ? *text : std::string());
}

inline bool is_of_type(const nlohmann::json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "null") return value.is_null();
  return type == "number" && value.is_number();
}

// A name, or a list of names of which one must fit.
inline bool is_of_types(const nlohmann::json& value, const nlohmann::json& types) {
  if (types.is_string()) return is_of_type(value, types.get<std::string>());
  return std::any_of(types.begin(), types.end(),
                     [&](const nlohmann::json& type) { return is_of_type(value, type.get<std::string>()); });
}

// Each violation is a sentence. What the schema does not name may not be there.
inline void validate_json(const nlohmann::json& schema, const nlohmann::json& value, const std::string& where,
                          std::vector<std::string>& wrong) {
  if (!is_of_types(value, schema["type"])) return wrong.push_back(where + " is no " + json_text(schema["type"]));
  if (schema.contains("enum")) {
    const auto& words = schema["enum"];
    if (std::find(words.begin(), words.end(), value) == words.end()) wrong.push_back(where + " is " + json_text(value));
  }
  if (schema.contains("minimum") && value.is_number() && value < schema["minimum"]) {
    wrong.push_back(where + " is " + json_text(value));
  }
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      validate_json(schema["items"], value[i], where + "[" + std::to_string(i) + "]", wrong);
    }
  }
  if (!value.is_object()) return;
  for (const auto& name : schema.value("required", nlohmann::json::array())) {
    if (!value.contains(name)) wrong.push_back(where + "." + name.get<std::string>() + " is missing");
  }
  for (const auto& [name, field] : value.items()) {
    const nlohmann::json more = schema.value("additionalProperties", nlohmann::json(false));
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      validate_json(schema["properties"][name], field, where + "." + name, wrong);
    } else if (more.is_object()) {
      validate_json(more, field, where + "." + name, wrong);
    } else {
      wrong.push_back(where + "." + name + " is not in the schema");
    }
  }
}

}  // namespace sonde::test
