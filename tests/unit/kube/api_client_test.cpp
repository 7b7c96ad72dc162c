// SPDX-License-Identifier: Apache-2.0
// What the client does with servers that answer nothing, or more than anybody wants.
#include "agent/kube/api_client.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "agent/api/http_pool.h"
#include "agent/base/fd.h"
#include "tests/support/loopback.h"
#include "tests/support/proxies.h"

namespace sonde::kube {
namespace {

// Says `head`, then `part` again and again, as long as the client takes it. No part: it is silent until the client goes.
class Server {
 public:
  Server(std::string head, std::string part) : head_(std::move(head)), part_(std::move(part)) {
    limit_http_pool();
    thread_ = std::thread([this] { accept_all(); });
  }
  ~Server() {
    shutdown(listener_.fd.get(), SHUT_RDWR);
    thread_.join();
    for (std::thread& peer : peers_) peer.join();
  }
  std::string url() const { return listener_.url(); }
  int connected() const { return connected_; }

 private:
  void accept_all() {
    for (;;) {
      Fd peer(accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) return;
      ++connected_;
      peers_.emplace_back([this, peer = std::move(peer)] {
        char request[4096];
        recv(peer.get(), request, sizeof(request), 0);
        bool taken = say(peer, head_);
        while (taken && !part_.empty()) taken = say(peer, part_);
        if (part_.empty()) recv(peer.get(), request, sizeof(request), 0);
        --connected_;
      });
    }
  }
  static bool say(const Fd& peer, const std::string& text) {
    return send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }

  const std::string head_, part_;
  const test::Listener listener_ = test::listen_on_loopback();
  std::atomic<int> connected_{0};
  std::vector<std::thread> peers_;
  std::thread thread_;
};

const std::string kChunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
std::string chunk(const std::string& text) {
  char size[32];
  std::snprintf(size, sizeof(size), "%zx\r\n", text.size());
  return size + text + "\r\n";
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

constexpr uint64_t kLong = 60'000'000'000;

// Else all that the server still sends would be kept in memory.
TEST(ApiClient, AWatchThatIsEndedClosesItsConnection) {
  Server server(kChunked, chunk(std::string(4095, 'x') + "\n"));
  ApiClient client({.url = server.url()});
  for (int i = 0; i < 3; ++i) {
    int lines = 0;
    const ApiAnswer answer = client.watch("/pods?watch=1", kLong, [&](std::string_view line) {
      EXPECT_EQ(line.size(), 4095U);
      return ++lines < 2;
    });
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.error, "");
    EXPECT_EQ(lines, 2);
    EXPECT_TRUE(eventually([&] { return server.connected() == 0; })) << "the server can still send";
  }
}

TEST(ApiClient, AsksWithoutAProxy) {
  Server server("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", "");
  const test::Proxies proxies;
  ApiClient client({.url = server.url()});
  const ApiAnswer answer = client.get("/pods", kLong);
  EXPECT_TRUE(answer.ok()) << answer.error;
  EXPECT_EQ(answer.body, "{}");
}

TEST(ApiClient, AnEventWithoutEndIsGivenUp) {
  Server server(kChunked, chunk(std::string(1 << 16, 'x')));
  ApiClient client({.url = server.url()});
  const ApiAnswer answer = client.watch("/pods?watch=1", kLong, [](std::string_view) { return true; });
  EXPECT_EQ(answer.error, "an event of the watch is too large");
  EXPECT_TRUE(eventually([&] { return server.connected() == 0; }));
}

TEST(ApiClient, AnAnswerWithoutEndIsGivenUp) {
  Server server(kChunked, chunk(std::string(1 << 20, 'x')));
  ApiClient client({.url = server.url()});
  const ApiAnswer answer = client.get("/pods", kLong);
  EXPECT_FALSE(answer.ok());
  EXPECT_EQ(answer.error, "the answer is too large");
  EXPECT_EQ(answer.body, "");
  EXPECT_TRUE(eventually([&] { return server.connected() == 0; }));
}

TEST(ApiClient, SilentServersLeaveNothingBehind) {
  Server server("", "");
  ApiClient client({.url = server.url()});
  const auto watch = [&] { return client.watch("/pods?watch=1", 5'000'000, [](std::string_view) { return true; }); };
  for (int i = 0; i < 20; ++i) EXPECT_NE(watch().error, "");
  const std::size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 200; ++i) EXPECT_NE(watch().error, "");
  EXPECT_TRUE(eventually([&] { return server.connected() == 0; }));
  EXPECT_LT(mallinfo2().uordblks, before + (200 << 10)) << "not as much as a KiB each";
}

TEST(ApiClient, StopEndsWhatIsUnderWay) {
  Server server(kChunked + chunk("{\"type\":"), "");
  ApiClient client({.url = server.url()});
  std::thread stopper([&] {
    EXPECT_TRUE(eventually([&] { return server.connected() == 1; }));
    client.stop();
  });
  client.watch("/pods?watch=1", kLong, [](std::string_view) { return true; });  // it returns, with an error or without
  stopper.join();
  EXPECT_TRUE(eventually([&] { return server.connected() == 0; }));
  EXPECT_FALSE(client.get("/pods", kLong).ok()) << "also those to come";
}

}  // namespace
}  // namespace sonde::kube
