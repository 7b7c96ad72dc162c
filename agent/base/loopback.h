// SPDX-License-Identifier: Apache-2.0
// What is reached from this machine alone.
#pragma once

#include <string_view>

namespace sonde {

// Is this host (without brackets) a name or an address of the machine's loopback?
bool is_loopback_host(std::string_view host);

}  // namespace sonde
