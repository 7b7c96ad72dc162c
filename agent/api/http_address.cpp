// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_address.h"

#include <cerrno>
#include <system_error>

#include "agent/base/host_port.h"
#include "agent/base/text.h"

namespace sonde {

std::string ListenAddress::text() const { return host_port_text(host.empty() ? "::" : host, std::to_string(port)); }

Result<ListenAddress> parse_listen_address(std::string_view text) {
  auto wrong = [&](const std::string& why) {
    return Error("'" + std::string(text) + "' is not an address to listen on: " + why +
                 "; write host:port, for example [::]:18080 or 127.0.0.1:18081");
  };
  auto parsed = parse_host_port(text);
  if (!parsed) return wrong(parsed.error().message());
  if (!parsed->port) return wrong(parsed->bare_ipv6 ? "an IPv6 address must be in brackets" : "the port is missing");
  Result<int64_t> port = parse_integer(*parsed->port, 0, 65535);
  if (!port) return wrong("the port must be a number from 0 to 65535");
  return ListenAddress{std::move(parsed->host), static_cast<uint16_t>(*port)};
}

Error listen_error(const std::string& purpose, const ListenAddress& address, int errno_value) {
  std::string what = "Cannot open " + purpose + " on " + address.text() + ": ";
  switch (errno_value) {
    case EADDRINUSE:
      return Error(what + "the port is in use; stop the other process (ss -ltnp shows it) or choose another port");
    case EADDRNOTAVAIL:
      return Error(what +
                   "this machine has no such address; use [::] for all addresses, or one listed by `ip address`");
    case EACCES: return Error(what + "not permitted; choose a port above 1023 or grant CAP_NET_BIND_SERVICE");
    case EAFNOSUPPORT: return Error(what + "this machine has no IPv6; use an IPv4 address such as 0.0.0.0");
    default: return Error(what + std::generic_category().message(errno_value) + "; choose another address or port");
  }
}

}  // namespace sonde
