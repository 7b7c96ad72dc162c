// SPDX-License-Identifier: Apache-2.0
// Measured with a message and its answer over loopback.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>

#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

Run exchange_messages() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
            client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener, 1) == 0);
  must(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  must(connect(client, reinterpret_cast<sockaddr*>(&address), length) == 0);
  const int server = accept(listener, nullptr, nullptr), one = 1;
  for (const int end : {client, server}) must(setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
  run_alongside([server] {
    std::array<char, 64> message{};
    must(recv(server, message.data(), message.size(), MSG_WAITALL) == 64 && send(server, message.data(), 64, 0) == 64);
  });
  return timed([client] {
    std::array<char, 64> message{};
    must(send(client, message.data(), 64, 0) == 64 && recv(client, message.data(), message.size(), MSG_WAITALL) == 64);
  });
}

const Load kLoad("network", exchange_messages, 3'000, "64 bytes back and forth over loopback");

}  // namespace
}  // namespace sonde::bench
