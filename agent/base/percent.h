// SPDX-License-Identifier: Apache-2.0
// Percent-encoding (RFC 3986, section 2.1).
#pragma once

#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde {

// An error if a % is not followed by two hex digits. '+' is itself.
Result<std::string> percent_decoded(std::string_view text);

// Letters, digits and what `plain` lists stay as they are.
std::string percent_encoded(std::string_view text, std::string_view plain);

}  // namespace sonde
