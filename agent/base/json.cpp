// SPDX-License-Identifier: Apache-2.0
#include "agent/base/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sonde {

template <typename Json>
Json parse_json(std::string_view text) {
  return Json::parse(text, nullptr, false);
}

template <typename Json>
std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

template <typename Json>
const Json& member(const Json& object, std::string_view key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

template <typename Json>
std::string text_in(const Json& object, std::string_view key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.template get<std::string>() : std::string();
}

template <typename Json>
uint64_t number_in(const Json& object, std::string_view key) {
  const Json& value = member(object, key);
  if (value.is_number_unsigned()) return value.template get<uint64_t>();
  return value.is_number_integer() ? static_cast<uint64_t>(std::max<int64_t>(value.template get<int64_t>(), 0)) : 0;
}

template <typename Json>
std::map<std::string, std::string> texts_in(const Json& object) {
  std::map<std::string, std::string> texts;
  if (!object.is_object()) return texts;
  for (const auto& [key, value] : object.items()) {
    if (value.is_string()) texts[key] = value.template get<std::string>();
  }
  return texts;
}

template nlohmann::json parse_json(std::string_view text);
template nlohmann::ordered_json parse_json(std::string_view text);
template const nlohmann::json& member(const nlohmann::json& object, std::string_view key);
template const nlohmann::ordered_json& member(const nlohmann::ordered_json& object, std::string_view key);
template std::string text_in(const nlohmann::json& object, std::string_view key);
template std::string text_in(const nlohmann::ordered_json& object, std::string_view key);
template uint64_t number_in(const nlohmann::json& object, std::string_view key);
template uint64_t number_in(const nlohmann::ordered_json& object, std::string_view key);
template std::map<std::string, std::string> texts_in(const nlohmann::json& object);
template std::string json_text(const nlohmann::json& json, int indent);
template std::string json_text(const nlohmann::ordered_json& json, int indent);

}  // namespace sonde
