// SPDX-License-Identifier: Apache-2.0
#include "agent/base/host_port.h"

#include <arpa/inet.h>

namespace sonde {

namespace {

bool is_address_of(int family, std::string_view host) {
  unsigned char bytes[16];
  return ::inet_pton(family, std::string(host).c_str(), bytes) == 1;
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  HostPort out;
  std::string_view after;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return Error("the bracket is not closed");
    out.host = text.substr(1, close - 1);
    after = text.substr(close + 1);
    if (!after.empty() && !after.starts_with(':')) return Error("there is something between address and port");
  } else {
    const std::size_t colon = text.find(':');
    if (colon != text.rfind(':')) {
      if (!is_ipv6_address(text)) return Error("an IPv6 address must be in brackets");
      out.host = text;
      out.bare_ipv6 = true;
      return out;
    }
    out.host = text.substr(0, colon);
    if (colon != std::string_view::npos) after = text.substr(colon);
  }
  if (out.host.find_first_of("[]/@ ") != std::string::npos) return Error("the host has a character that no host has");
  if (!after.empty()) out.port = std::string(after.substr(1));
  return out;
}

std::string bracketed(std::string_view host) {
  std::string out(host);
  return host.find(':') == std::string_view::npos ? out : "[" + out + "]";
}

std::string host_port_text(std::string_view host, std::string_view port) {
  return bracketed(host) + ":" + std::string(port);
}

bool is_ipv6_address(std::string_view host) { return is_address_of(AF_INET6, host); }

bool is_ip_address(std::string_view host) { return is_address_of(AF_INET, host) || is_ipv6_address(host); }

}  // namespace sonde
