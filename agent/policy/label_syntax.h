// SPDX-License-Identifier: Apache-2.0
// What Kubernetes takes as names: a selector that says something else selects nothing, ever.
#pragma once

#include <string_view>

namespace sonde {

bool is_label_key(std::string_view text);       // app, app.kubernetes.io/name
bool is_label_value(std::string_view text);     // at most 63 characters; may be empty
bool is_container_name(std::string_view text);  // a DNS label

}  // namespace sonde
