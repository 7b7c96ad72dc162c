// SPDX-License-Identifier: Apache-2.0
// Listening addresses as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/base/loopback.h"
#include "agent/base/result.h"

namespace sonde {

struct ListenAddress {
  std::string host;  // without brackets; empty: all addresses
  uint16_t port = 0;
  std::string text() const;  // "[::]:18080"
};

// "host:port", "[v6]:port", ":port". The error says how to write it.
Result<ListenAddress> parse_listen_address(std::string_view text);

// One sentence for a failed bind(2): what is wrong and what to do. `purpose`: "the public listener".
Error listen_error(const std::string& purpose, const ListenAddress& address, int errno_value);

}  // namespace sonde
