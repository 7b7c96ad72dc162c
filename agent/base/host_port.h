// SPDX-License-Identifier: Apache-2.0
// Hosts and ports as people write them: a name or an IP address, with or without a port.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde {

struct HostPort {
  std::string host;  // without brackets; may be empty, as in ":80"
  std::optional<std::string> port = {};
  bool bare_ipv6 = false;  // an IPv6 address without brackets, which leaves no room for a port
};

// host, host:port, :port, [IPv6], [IPv6]:port, or an IPv6 address alone. The port is not checked. The error is the end of a
// sentence: "the bracket is not closed".
Result<HostPort> parse_host_port(std::string_view text);

// "host:port"; with brackets around an IPv6 address.
std::string host_port_text(std::string_view host, std::string_view port);
std::string bracketed(std::string_view host);

// IPv4 or IPv6, without brackets.
bool is_ip_address(std::string_view host);
bool is_ipv6_address(std::string_view host);

}  // namespace sonde
