// SPDX-License-Identifier: Apache-2.0
// A server that answers whatever a test wants, plain or with OpenSSL's TLS; a thread for each connection.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/loopback.h"
#include "tests/unit/api/certificate_support.h"
#include "tests/unit/api/socket_support.h"

namespace sonde::api_test {

class TestPeer {
 public:
  struct Options {
    Identity tls;           // empty: plain
    std::string client_ca;  // asks the client for a certificate of this CA
    bool ipv6 = false;
  };
  // The raw answer to a raw request; empty: close without a word.
  using Answer = std::function<std::string(const std::string& request)>;

  TestPeer(Options options, Answer answer) : answer_(std::move(answer)) {
    ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    if (!options.tls.certificate.empty()) {
      context_ = SSL_CTX_new(TLS_server_method());
      EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, options.tls.certificate.c_str()), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, options.tls.key.c_str(), SSL_FILETYPE_PEM), 1);
      if (!options.client_ca.empty()) {
        EXPECT_EQ(SSL_CTX_load_verify_locations(context_, options.client_ca.c_str(), nullptr), 1);
        SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      }
    }
    auto [listener, found] = test::listen_on_loopback(options.ipv6 ? AF_INET6 : AF_INET);
    listener_ = std::move(listener);
    port = found;
    thread_ = std::thread([this] { serve(); });
  }
  ~TestPeer() {
    stop_ = true;
    thread_.join();
    for (std::thread& each : conversations_) each.join();
    SSL_CTX_free(context_);
  }

  uint16_t port = 0;
  std::atomic<int> connections{0};

  std::vector<std::string> requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  std::string client_name() {  // CN of the last client certificate
    std::lock_guard lock(mutex_);
    return client_name_;
  }

 private:
  bool readable(int fd) {
    while (!stop_) {
      pollfd waiting{fd, POLLIN, 0};
      if (::poll(&waiting, 1, 20) > 0) return true;
    }
    return false;
  }

  void serve() {
    while (readable(listener_.get())) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      connections++;
      conversations_.emplace_back([this, fd = std::move(fd)] { greet(fd.get()); });
    }
  }

  void greet(int fd) {
    SSL* ssl = nullptr;
    if (context_) {
      ssl = SSL_new(context_);
      SSL_set_fd(ssl, fd);
      timeval limit{30, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    if (!ssl || SSL_accept(ssl) == 1) converse(fd, ssl);
    SSL_free(ssl);
    ERR_clear_error();
  }

  void converse(int fd, SSL* ssl) {
    if (ssl) note_client(ssl);
    std::string text;
    for (;;) {
      std::size_t end = text.find("\r\n\r\n");
      std::size_t length = 0;
      if (std::size_t at = text.find("Content-Length: "); at < end) length = std::stoul(text.substr(at + 16));
      if (end != std::string::npos && text.size() >= end + 4 + length) {
        std::string request = text.substr(0, end + 4 + length);
        text.erase(0, request.size());
        {
          std::lock_guard lock(mutex_);
          requests_.push_back(request);
        }
        std::string answer = answer_(request);
        if (answer.empty() || !write(fd, ssl, answer)) return;
        continue;
      }
      if (!(ssl && SSL_pending(ssl)) && !readable(fd)) return;
      char buffer[16384];
      long got = ssl ? SSL_read(ssl, buffer, sizeof buffer) : ::recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) return;
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }

  void note_client(SSL* ssl) {
    X509* certificate = SSL_get1_peer_certificate(ssl);
    if (!certificate) return;
    char name[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    X509_free(certificate);
    std::lock_guard lock(mutex_);
    client_name_ = name;
  }

  static bool write(int fd, SSL* ssl, std::string_view text) {
    while (!text.empty()) {
      long sent = ssl ? SSL_write(ssl, text.data(), static_cast<int>(text.size()))
                      : ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  const Answer answer_;
  SSL_CTX* context_ = nullptr;
  Fd listener_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::string client_name_;
  std::vector<std::thread> conversations_;  // of thread_
  std::thread thread_;
};

inline std::string ok(const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace sonde::api_test
