// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_server.h"

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>

#include "agent/api/endpoints.h"
#include "agent/api/http_address.h"
#include "tests/unit/api/socket_support.h"

namespace sonde::api_test {
namespace {

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    options.address = "127.0.0.1:0";
    server = std::make_unique<HttpServer>(options);
    server->route("/echo", [](const WebRequest& request) {
      std::string text = request.path;
      for (const auto& [key, value] : request.query) text += " " + key + "=" + value;
      return WebReply{.body = text};
    });
    server->route("/tree/", [](const WebRequest& request) { return WebReply{.body = "below " + request.path}; });
    server->route("/throws", [](const WebRequest&) -> WebReply { throw std::runtime_error("no luck"); });
    server->route("/big", [](const WebRequest&) { return WebReply{.body = std::string(8 << 20, 'x')}; });
    Result<void> started = server->start();
    ASSERT_TRUE(started) << started.error().message();
    port = server->port();
    ASSERT_NE(port, 0);
  }

  std::unique_ptr<HttpServer> server;
  uint16_t port = 0;
};

TEST_F(HttpServerTest, AnswersAndDecodes) {
  start();
  EXPECT_EQ(body_of(get(port, "/echo?a=1&b=%41+c&verbose")), "/echo a=1 b=A c verbose=");
  EXPECT_EQ(body_of(get(port, "/ech%6f")), "/echo");
  EXPECT_EQ(body_of(get(port, "/tree/a/b")), "below /tree/a/b");
  EXPECT_EQ(body_of(get(port, "/big")).size(), 8u << 20);
  EXPECT_EQ(server->stats().requests, 4u);
}

TEST_F(HttpServerTest, HeadSendsTheLengthOnly) {
  start();
  std::string answer = say(port, "HEAD /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status_of(answer), "200");
  EXPECT_NE(answer.find("Content-Length: 5\r\n"), std::string::npos) << answer;
  EXPECT_EQ(body_of(answer), "");
}

TEST_F(HttpServerTest, RefusesWithASentence) {
  start();
  std::string missing = get(port, "/nothing");
  EXPECT_EQ(status_of(missing), "404");
  EXPECT_EQ(body_of(missing), "There is nothing at this path. Available: /big, /echo, /throws\n");
  std::string posted =
      say(port, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
  EXPECT_EQ(status_of(posted), "405");
  EXPECT_NE(posted.find("Allow: GET, HEAD\r\n"), std::string::npos);
  EXPECT_EQ(status_of(get(port, "/echo?a=%zz")), "400");
  EXPECT_EQ(status_of(get(port, "/echo%00")), "400");
  EXPECT_EQ(status_of(get(port, "*")), "400");
  EXPECT_EQ(status_of(get(port, "/throws")), "500");
  EXPECT_EQ(body_of(get(port, "/throws")), "The response could not be generated: no luck.\n");
}

TEST_F(HttpServerTest, LimitsWhatIsSent) {
  start();
  EXPECT_EQ(status_of(get(port, "/echo?" + std::string(4000, 'a'))), "414");
  EXPECT_EQ(status_of(get(port, "/echo", "X-Long: " + std::string(40'000, 'a') + "\r\n")), "431");
  EXPECT_EQ(status_of(say(port, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n")), "413");
  EXPECT_EQ(status_of(say(port, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" +
                                    std::string(100'000, 'x'))),
            "413");
  std::string chunks = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 10; i++) chunks += "400\r\n" + std::string(0x400, 'b') + "\r\n";
  EXPECT_EQ(status_of(say(port, chunks)), "413");
  EXPECT_EQ(status_of(say(port, "\x16\x03\x01\x02 not http\r\n\r\n")), "400");
  EXPECT_EQ(status_of(say(port, "GET / HTTP/1.1\r\nBad Header\r\n\r\n")), "400");
  EXPECT_EQ(status_of(say(port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n")), "400");
  EXPECT_EQ(status_of(get(port, "/echo")), "200");  // and lives on
  EXPECT_EQ(server->stats().failed, 7u);
}

TEST_F(HttpServerTest, KeepsTheConnectionAndAnswersInOrder) {
  start();
  std::string answers =
      say(port,
          "GET /echo?n=1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /echo?n=2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
          "GET /echo?n=3 HTTP/1.0\r\n\r\n");
  std::size_t first = answers.find("n=1"), second = answers.find("n=2"), third = answers.find("n=3");
  EXPECT_TRUE(first < second && second < third && third != std::string::npos) << answers;
}

TEST_F(HttpServerTest, SlowAndSilentPeersAreDropped) {
  start({.idle_timeout_ns = 200'000'000});
  Fd silent = connect_to(port);
  Fd slow = connect_to(port);
  send_all(slow, "GET /echo HT");
  EXPECT_TRUE(closed_by_peer(silent));
  EXPECT_TRUE(closed_by_peer(slow));
}

TEST_F(HttpServerTest, TooManyConnectionsAreTurnedAway) {
  start({.max_connections = 2});
  Fd first = connect_to(port), second = connect_to(port);
  send_all(first, "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
  send_all(second, "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
  char buffer[1024];
  ASSERT_GT(::recv(first.get(), buffer, sizeof buffer, 0), 0);
  ASSERT_GT(::recv(second.get(), buffer, sizeof buffer, 0), 0);
  Fd third = connect_to(port);
  EXPECT_EQ(status_of(read_all(third)), "503");
  EXPECT_EQ(server->stats().refused, 1u);
  first = Fd();
  // The end of a connection is noticed a moment later.
  std::string status;
  for (int i = 0; i < 3'000 && status != "200"; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    status = status_of(get(port, "/echo"));
  }
  EXPECT_EQ(status, "200");
}

TEST_F(HttpServerTest, LoopbackListenerRefusesForeignNames) {
  start();
  auto with_host = [&](const std::string& host) {
    return status_of(say(port, "GET /echo HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"));
  };
  EXPECT_EQ(with_host("evil.example:18081"), "403");
  EXPECT_EQ(with_host("127.0.0.1.evil.example"), "403");
  EXPECT_EQ(with_host("localhost:18081"), "200");
  EXPECT_EQ(with_host("127.0.0.1"), "200");
  EXPECT_EQ(with_host("[::1]:18081"), "200");
}

TEST_F(HttpServerTest, StopLetsTheRunningAnswerEnd) {
  start();
  server.reset();
  HttpServer own({.address = "127.0.0.1:0"});
  std::promise<void> entered;
  std::atomic<bool> answered{false};
  own.route("/slow", [&](const WebRequest&) {
    entered.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    answered = true;
    return WebReply{.body = "done"};
  });
  ASSERT_TRUE(own.start());
  uint16_t at = own.port();
  std::future<std::string> answer = std::async(std::launch::async, [&] { return get(at, "/slow"); });
  Fd idle = connect_to(at);
  entered.get_future().wait();
  own.stop();
  EXPECT_TRUE(answered);
  EXPECT_TRUE(closed_by_peer(idle));
  EXPECT_EQ(body_of(answer.get()), "done");
  EXPECT_FALSE(connect_to(at));  // nobody listens any more
}

TEST(HttpServerStart, DualStack) {
  HttpServer server({.address = "[::]:0", .purpose = "public"});
  server.route("/x", [](const WebRequest&) { return WebReply{.body = "here"}; });
  ASSERT_TRUE(server.start());
  const char* request = "GET /x HTTP/1.1\r\nHost: node.example\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(body_of(say(server.port(), request)), "here");
  if (server.address().starts_with("http://[::]")) {
    EXPECT_EQ(body_of(say(server.port(), request, "::1")), "here");
  }
}

TEST(HttpServerStart, FailuresSayWhatToDo) {
  HttpServer first({.address = "127.0.0.1:0"});
  ASSERT_TRUE(first.start());
  std::string taken = "127.0.0.1:" + std::to_string(first.port());
  auto message = [](const std::string& address) {
    HttpServer server({.address = address, .purpose = "public"});
    Result<void> started = server.start();
    return started ? "started" : started.error().message();
  };
  EXPECT_EQ(message(taken),
            "Cannot open the public listener on " + taken +
                ": the port is in use; stop the other process (ss -ltnp shows it) or choose another port");
  EXPECT_NE(message("192.0.2.77:0").find("this machine has no such address"), std::string::npos);
  EXPECT_NE(message("127.0.0.1").find("the port is missing; write host:port"), std::string::npos);
  EXPECT_NE(message("127.0.0.1:99999").find("from 0 to 65535"), std::string::npos);
  EXPECT_NE(message("::1:80").find("brackets"), std::string::npos);
  EXPECT_NE(message("no-such-name.invalid:80").find("write an IP address"), std::string::npos);
  EXPECT_NE(message("no such name:80").find("a character that no host has"), std::string::npos);
}

TEST(HttpServerStart, StopTwiceAndWithoutStart) {
  HttpServer never({.address = "127.0.0.1:0"});
  never.stop();
  HttpServer server({.address = "127.0.0.1:0"});
  ASSERT_TRUE(server.start());
  server.stop();
  server.stop();
}

TEST(Health, PathsQueriesAndShutdown) {
  HealthChecks checks;
  std::atomic<bool> attached{false};
  checks.add(HealthKind::Live, "data", [] { return Result<void>(); });
  checks.add(HealthKind::Ready, "probes", [&]() -> Result<void> {
    if (!attached) return Error("3 of 9 programs are attached");
    return {};
  });
  HttpServer server({.address = "[::]:0"});
  serve_health(server, checks);
  ASSERT_TRUE(server.start());
  uint16_t port = server.port();
  EXPECT_EQ(body_of(get(port, "/livez")), "ok");
  EXPECT_EQ(body_of(get(port, "/livez?verbose")), "[+]data ok\nlivez check passed\n");
  EXPECT_EQ(status_of(get(port, "/readyz")), "500");
  EXPECT_EQ(body_of(get(port, "/readyz")),
            "[+]data ok\n[-]probes failed: 3 of 9 programs are attached\n[+]shutdown ok\nreadyz check failed\n");
  EXPECT_EQ(body_of(get(port, "/readyz?exclude=probes")), "ok");
  EXPECT_EQ(body_of(get(port, "/readyz?verbose&exclude=probes&exclude=x")),
            "[+]data ok\n"
            "[+]probes excluded: ok\n"
            "[+]shutdown ok\n"
            "warn: there is no check to exclude named \"x\"\n"
            "readyz check passed\n");
  EXPECT_EQ(status_of(get(port, "/readyz/probes")), "500");
  EXPECT_EQ(body_of(get(port, "/livez/data")), "ok");
  EXPECT_EQ(status_of(get(port, "/livez/probes")), "404");
  attached = true;
  EXPECT_EQ(body_of(get(port, "/readyz")), "ok");
  checks.shutting_down();
  EXPECT_EQ(status_of(get(port, "/readyz")), "500");
  EXPECT_EQ(status_of(get(port, "/livez")), "200");
  EXPECT_EQ(status_of(get(port, "/healthz")), "200");
}

TEST(Endpoints, MetricsJsonAndIndex) {
  PrometheusExporter exporter;
  HttpServer server({.address = "127.0.0.1:0"});
  serve_metrics(server, exporter);
  serve_json(server, "/statusz", [] { return std::string("{\"ok\":true}"); });
  serve_index(server, {{"/metrics", "for Prometheus"}, {"/statusz", "a <b> & \"c\""}});
  ASSERT_TRUE(server.start());
  uint16_t port = server.port();
  std::string metrics = get(port, "/metrics", "Accept: application/openmetrics-text\r\nAccept-Encoding: gzip\r\n");
  EXPECT_NE(metrics.find("Content-Encoding: gzip\r\n"), std::string::npos);
  EXPECT_NE(metrics.find("Content-Type: application/openmetrics-text; version=1.0.0"), std::string::npos);
  EXPECT_EQ(body_of(get(port, "/metrics", "Accept: application/openmetrics-text\r\n")), "# EOF\n");
  EXPECT_EQ(body_of(get(port, "/statusz")), "{\"ok\":true}\n");
  EXPECT_NE(get(port, "/").find("a &lt;b> &amp; &quot;c&quot;"), std::string::npos);
}

TEST(HttpAddress, Loopback) {
  EXPECT_TRUE(is_loopback_host("127.8.9.1"));
  EXPECT_TRUE(is_loopback_host("::1"));
  EXPECT_TRUE(is_loopback_host("LocalHost"));
  EXPECT_FALSE(is_loopback_host("0.0.0.0"));
  EXPECT_FALSE(is_loopback_host("example.org"));
}

}  // namespace
}  // namespace sonde::api_test
