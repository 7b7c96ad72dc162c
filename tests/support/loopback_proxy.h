// SPDX-License-Identifier: Apache-2.0
// An HTTP proxy on loopback: CONNECT, and requests with an absolute address. It alone knows where its names lead.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/loopback.h"

namespace sonde::test {

class LoopbackProxy {
 public:
  // host:port → port of the loopback. What is not in it is answered 502; without `authorization`, where one is wanted, 407.
  explicit LoopbackProxy(std::map<std::string, uint16_t> names, std::string authorization = "")
      : names_(std::move(names)), authorization_(std::move(authorization)), listener_(listen_on_loopback()) {
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~LoopbackProxy() {
    stopping_ = true;
    accepting_.join();
    for (std::thread& thread : serving_) thread.join();
  }
  std::string url(const std::string& user = "") const {
    return "http://" + user + (user.empty() ? "" : "@") + "127.0.0.1:" + std::to_string(listener_.port);
  }
  std::vector<std::string> asked() const {  // first lines
    std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  static constexpr int kTickMs = 20;

  bool readable(int fd) const {
    pollfd wait{fd, POLLIN, 0};
    while (!stopping_) {
      if (poll(&wait, 1, kTickMs) > 0) return true;
    }
    return false;
  }
  void accept_all() {
    while (readable(listener_.fd.get())) {
      Fd client(accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.get() >= 0) serving_.emplace_back([this, fd = std::move(client)]() mutable { serve(std::move(fd)); });
    }
  }
  static void say(int fd, const std::string& text) { (void)!write(fd, text.data(), text.size()); }

  void serve(Fd client) {
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos) {
      char byte = 0;
      if (!readable(client.get()) || read(client.get(), &byte, 1) != 1) return;
      head += byte;
    }
    const std::string first = head.substr(0, head.find("\r\n"));
    {
      std::lock_guard lock(mutex_);
      asked_.push_back(first);
    }
    const std::string target = first.substr(first.find(' ') + 1, first.rfind(' ') - first.find(' ') - 1);
    const bool tunnel = first.starts_with("CONNECT ");
    const std::string rest = tunnel ? target : target.substr(target.find("://") + 3);
    const std::string authority = rest.substr(0, rest.find('/'));
    if (!authorization_.empty() && head.find("Proxy-Authorization: " + authorization_ + "\r\n") == std::string::npos) {
      return say(client.get(), "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    }
    const auto known = names_.find(authority);
    Fd peer(known == names_.end() ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(known == names_.end() ? 0 : known->second);
    if (peer.get() < 0 || connect(peer.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return say(client.get(), "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    }
    if (tunnel) {
      say(client.get(), "HTTP/1.1 200 Connection established\r\n\r\n");
    } else {
      head.erase(first.find(' ') + 1, std::string("http://").size() + authority.size());
      say(peer.get(), head);
    }
    pump(client.get(), peer.get());
  }

  void pump(int a, int b) const {
    pollfd both[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    while (!stopping_) {
      if (poll(both, 2, kTickMs) <= 0) continue;
      for (int i = 0; i < 2; ++i) {
        if (both[i].revents == 0) continue;
        char bytes[16384];
        const ssize_t size = read(both[i].fd, bytes, sizeof(bytes));
        if (size <= 0) return;
        say(both[1 - i].fd, std::string(bytes, static_cast<std::size_t>(size)));
      }
    }
  }

  const std::map<std::string, uint16_t> names_;
  const std::string authorization_;
  Listener listener_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  std::list<std::thread> serving_;
  std::thread accepting_;
};

}  // namespace sonde::test
