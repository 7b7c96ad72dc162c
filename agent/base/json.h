// SPDX-License-Identifier: Apache-2.0
// JSON text, read and written. nlohmann's parser and serializer are templates of the whole library: what calls
// Json::parse() or dump() itself compiles them again. Json: nlohmann::json or nlohmann::ordered_json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace sonde {

// Discarded (is_discarded()) if the text is not JSON.
template <typename Json>
Json parse_json(std::string_view text);

// A member of an object; null if there is none, or if it is no object.
template <typename Json>
const Json& member(const Json& object, std::string_view key);
// A member of this type; empty or 0 if there is none. Numbers below 0 are 0.
template <typename Json>
std::string text_in(const Json& object, std::string_view key);
template <typename Json>
uint64_t number_in(const Json& object, std::string_view key);
// The members of an object that are strings: labels, annotations.
template <typename Json>
std::map<std::string, std::string> texts_in(const Json& object);

// On one line, or with so many spaces of indentation. Bytes that are not UTF-8 become U+FFFD.
template <typename Json>
std::string json_text(const Json& json, int indent = -1);

}  // namespace sonde
