// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cerrno>
#include <system_error>

#include "agent/base/text.h"

namespace sonde {

std::string ListenAddress::text() const {
  std::string shown = host.empty() ? "::" : host;
  if (shown.find(':') != std::string::npos) shown = "[" + shown + "]";
  return shown + ":" + std::to_string(port);
}

Result<ListenAddress> parse_listen_address(std::string_view text) {
  auto wrong = [&](const std::string& why) {
    return Error("'" + std::string(text) + "' is not an address to listen on: " + why +
                 "; write host:port, for example [::]:18080 or 127.0.0.1:18081");
  };
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong("the port is missing");
  std::string_view host = text.substr(0, colon);
  Result<int64_t> port = parse_integer(text.substr(colon + 1), 0, 65535);
  if (!port) return wrong("the port must be a number from 0 to 65535");
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string_view::npos)
    return wrong("an IPv6 address must be in brackets");
  return ListenAddress{std::string(host), static_cast<uint16_t>(*port)};
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
