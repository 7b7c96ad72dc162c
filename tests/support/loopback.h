// SPDX-License-Identifier: Apache-2.0
// A TCP listener on a free port of the loopback, for servers that a test plays itself.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "agent/base/fd.h"

namespace sonde::test {

struct Listener {
  Fd fd;
  uint16_t port = 0;  // still 0: this machine has no loopback of that family
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }
};

inline Listener listen_on_loopback(int family = AF_INET) {
  Listener listener;
  listener.fd = Fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  auto& ipv4 = reinterpret_cast<sockaddr_in&>(storage);
  auto& ipv6 = reinterpret_cast<sockaddr_in6&>(storage);
  address->sa_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else {
    ipv6.sin6_addr = in6addr_loopback;
  }
  socklen_t size = family == AF_INET ? sizeof(ipv4) : sizeof(ipv6);
  const int fd = listener.fd.get();
  if (bind(fd, address, size) || listen(fd, 16) || getsockname(fd, address, &size)) return listener;
  listener.port = ntohs(family == AF_INET ? ipv4.sin_port : ipv6.sin6_port);
  return listener;
}

}  // namespace sonde::test
