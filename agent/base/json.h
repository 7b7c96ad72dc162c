// SPDX-License-Identifier: Apache-2.0
// JSON text, read and written. nlohmann's parser and serializer are templates of the whole library: what calls
// Json::parse() or dump() itself compiles them again. Json: nlohmann::json or nlohmann::ordered_json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace sonde {

// Discarded (is_discarded()) if the text is not JSON.
template <typename Json>
Json parse_json(std::string_view text);

// On one line, or with so many spaces of indentation. Bytes that are not UTF-8 become U+FFFD.
template <typename Json>
std::string json_text(const Json& json, int indent = -1);

}  // namespace sonde
