// SPDX-License-Identifier: Apache-2.0
// Plain blocking sockets, to say to a server exactly what a test wants to say.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/base/fd.h"

namespace sonde::api_test {

inline Fd connect_to(uint16_t port, const char* address = "127.0.0.1") {
  bool v6 = std::string_view(address).find(':') != std::string_view::npos;
  Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{60, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int failed;
  if (v6) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(port);
    ::inet_pton(AF_INET6, address, &to.sin6_addr);
    failed = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to);
  } else {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &to.sin_addr);
    failed = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  return failed ? Fd() : std::move(fd);
}

inline bool send_all(const Fd& fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Until the peer closes, or is silent for a minute.
inline std::string read_all(const Fd& fd) {
  std::string out;
  char buffer[4096];
  for (;;) {
    ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return out;
    out.append(buffer, static_cast<std::size_t>(got));
  }
}

// It says nothing more and closes, within a minute.
inline bool closed_by_peer(const Fd& fd) {
  char byte;
  const ssize_t got = ::recv(fd.get(), &byte, 1, 0);
  return got == 0 || (got < 0 && errno == ECONNRESET);
}

// The raw answer to a raw request; the connection must be closed by the server.
inline std::string say(uint16_t port, std::string_view request, const char* address = "127.0.0.1") {
  Fd fd = connect_to(port, address);
  if (!fd || !send_all(fd, request)) return "not connected";
  return read_all(fd);
}

inline std::string get(uint16_t port, const std::string& target, const std::string& headers = "") {
  return say(port, "GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n");
}

inline std::string status_of(const std::string& answer) { return answer.size() < 12 ? answer : answer.substr(9, 3); }

inline std::string body_of(const std::string& answer) {
  std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

// A port nobody listens on, as far as one can know.
inline uint16_t unused_port() {
  Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &length);
  return ntohs(at.sin_port);
}

}  // namespace sonde::api_test
