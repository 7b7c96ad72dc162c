// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_client.h"

#include <chrono>

#include "agent/api/http_connection.h"
#include "agent/api/http_server.h"
#include "agent/base/clock.h"
#include "tests/unit/api/peer_support.h"

namespace sonde::api_test {
namespace {

constexpr uint64_t kSeconds = 1'000'000'000;

HttpRequest request_to(const std::string& url, TlsFiles tls = {}, uint64_t timeout_ns = 60 * kSeconds) {
  HttpRequest request;
  request.url = url;
  request.headers = {{"content-type", "application/x-protobuf"}, {"x-scope", "tenant 1"}};
  request.body = "payload";
  request.timeout_ns = timeout_ns;
  request.tls = std::move(tls);
  return request;
}

std::string url(const TestPeer& peer, const std::string& scheme = "http", const std::string& host = "127.0.0.1") {
  return scheme + "://" + host + ":" + std::to_string(peer.port) + "/v1/metrics?x=1";
}

TEST(HttpClient, PostsAndKeepsTheConnection) {
  TestPeer peer({}, [](const std::string&) { return ok("answer", "X-Two: B\r\n"); });
  HttpClient client;
  for (int i = 0; i < 3; i++) {
    HttpResponse got = client.post(request_to(url(peer)));
    ASSERT_EQ(got.failure, HttpFailure::None) << got.error;
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.body, "answer");
    EXPECT_EQ(got.headers[0], (std::pair<std::string, std::string>{"x-two", "B"}));
  }
  EXPECT_EQ(peer.connections, 1);
  std::string sent = peer.requests()[0];
  EXPECT_TRUE(
      sent.starts_with("POST /v1/metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(peer.port) + "\r\n"))
      << sent;
  EXPECT_NE(sent.find("content-type: application/x-protobuf\r\n"), std::string::npos);
  EXPECT_NE(sent.find("x-scope: tenant 1\r\n"), std::string::npos);
  EXPECT_NE(sent.find("Content-Length: 7\r\n\r\npayload"), std::string::npos);
}

TEST(HttpClient, ReachesIpv6Addresses) {
  TestPeer peer({.ipv6 = true}, [](const std::string&) { return ok("six"); });
  if (peer.port == 0) GTEST_SKIP() << "this machine has no IPv6 loopback";
  HttpClient client;
  EXPECT_EQ(client.post(request_to(url(peer, "http", "[::1]"))).body, "six");
}

TEST(HttpClient, OpensAnotherConnectionWhenThePeerClosedTheOld) {
  TestPeer peer({}, [](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na");
  });
  HttpClient client;
  EXPECT_EQ(client.post(request_to(url(peer))).body, "a");
  // The peer above keeps it open in spite of what it says; one that closes without saying so:
  auto closing = std::make_unique<TestPeer>(TestPeer::Options{}, [](const std::string&) { return ok("b"); });
  uint16_t port = closing->port;
  EXPECT_EQ(client.post(request_to(url(*closing))).body, "b");
  closing.reset();
  HttpResponse gone = client.post(request_to("http://127.0.0.1:" + std::to_string(port) + "/"));
  EXPECT_EQ(gone.failure, HttpFailure::Connect) << gone.error;
}

TEST(HttpClient, StatusesAreAnswersAndRedirectsAreNotFollowed) {
  TestPeer peer({}, [](const std::string&) {
    return std::string("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
  });
  HttpClient client;
  HttpResponse got = client.post(request_to(url(peer)));
  EXPECT_EQ(got.failure, HttpFailure::None);
  EXPECT_EQ(got.status, 307);
  TestPeer interim({}, [](const std::string&) {
    return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
  });
  got = client.post(request_to(url(interim)));
  EXPECT_EQ(got.status, 429);
  EXPECT_EQ(got.headers[0].first, "retry-after");
}

TEST(HttpClient, FailuresAreToldApart) {
  HttpClient client;
  std::string dead = "127.0.0.1:" + std::to_string(unused_port());
  HttpResponse refused = client.post(request_to("http://" + dead + "/"));
  EXPECT_EQ(refused.failure, HttpFailure::Connect);
  EXPECT_EQ(refused.error, "nothing listens on " + dead + " (connection refused)");

  HttpResponse unknown = client.post(request_to("http://no-such-host.invalid:80/"));
  EXPECT_EQ(unknown.failure, HttpFailure::Connect);
  EXPECT_NE(unknown.error.find("the name 'no-such-host.invalid' cannot be resolved"), std::string::npos);

  TestPeer closing({}, [](const std::string&) { return std::string(); });
  HttpResponse closed = client.post(request_to(url(closing)));
  EXPECT_EQ(closed.failure, HttpFailure::Other);
  EXPECT_NE(closed.error.find("closed the connection while waiting for the answer"), std::string::npos) << closed.error;

  TestPeer garbage({}, [](const std::string&) { return std::string("220 smtp ready\r\n\r\n"); });
  HttpResponse strange = client.post(request_to(url(garbage)));
  EXPECT_EQ(strange.failure, HttpFailure::Other);
  EXPECT_NE(strange.error.find("does not speak HTTP/1.1"), std::string::npos) << strange.error;

  HttpRequest injected = request_to(url(garbage));
  injected.headers.push_back({"x", "a\r\nEvil: 1"});
  EXPECT_NE(client.post(injected).error.find("contains a line break"), std::string::npos);
}

TEST(HttpClient, TheTimeoutIsForAllOfIt) {
  // One byte now and then must not keep the request alive.
  TestPeer silent({}, [](const std::string&) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    return std::string();
  });
  HttpClient client;
  uint64_t begin = monotonic_ns();
  HttpResponse got = client.post(request_to(url(silent), {}, kSeconds / 5));
  EXPECT_EQ(got.failure, HttpFailure::Timeout) << got.error;
  EXPECT_GE(monotonic_ns() - begin, kSeconds / 5);
}

TEST(HttpClient, LargeAnswersAreCut) {
  TestPeer peer({}, [](const std::string&) { return ok(std::string(300'000, 'x')); });
  TestPeer chunked({}, [](const std::string&) {
    std::string out = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 200; i++) out += "400\r\n" + std::string(0x400, 'y') + "\r\n";
    return out + "0\r\n\r\n";
  });
  HttpClient small(100'000), large(400'000);
  EXPECT_EQ(large.post(request_to(url(peer))).body.size(), 300'000u);
  EXPECT_EQ(large.post(request_to(url(chunked))).body.size(), 200u * 0x400);
  TestPeer endless({}, [](const std::string&) { return "HTTP/1.0 200 OK\r\n\r\n" + std::string(200'000, 'z'); });
  for (TestPeer* each : {&peer, &chunked, &endless}) {
    HttpResponse got = small.post(request_to(url(*each)));
    EXPECT_EQ(got.failure, HttpFailure::Other);
    EXPECT_NE(got.error.find("too large"), std::string::npos) << got.error;
  }
  TestPeer headers({}, [](const std::string&) { return ok("", "X: " + std::string(200'000, 'h') + "\r\n"); });
  EXPECT_NE(large.post(request_to(url(headers))).error.find("too large"), std::string::npos);
}

TEST(HttpClientTls, VerifiesChainAndName) {
  TemporaryDirectory directory;
  TestCa ca(directory), other(directory, "other");
  TestPeer peer({.tls = ca.issue("server", "DNS:localhost,IP:127.0.0.1")},
                [](const std::string&) { return ok("tls"); });
  TestPeer elsewhere({.tls = ca.issue("elsewhere", "DNS:collector.example")},
                     [](const std::string&) { return ok(""); });
  TestPeer expired({.tls = ca.issue("expired", "IP:127.0.0.1", -100'000)}, [](const std::string&) { return ok(""); });
  HttpClient client;
  EXPECT_EQ(client.post(request_to(url(peer, "https"), {.ca = ca.path})).body, "tls");
  EXPECT_EQ(client.post(request_to(url(peer, "https"), {.ca = ca.path})).body, "tls");
  EXPECT_EQ(peer.connections, 1);
  EXPECT_EQ(client.post(request_to(url(peer, "https", "localhost"), {.ca = ca.path})).body, "tls");

  auto refused = [&](const TestPeer& at, TlsFiles files) {
    HttpResponse got = client.post(request_to(url(at, "https"), std::move(files)));
    EXPECT_EQ(got.failure, HttpFailure::Tls) << got.error;
    return got.error;
  };
  EXPECT_NE(refused(peer, {}).find("not trusted by the system's CAs"), std::string::npos);
  EXPECT_NE(refused(peer, {.ca = other.path}).find("not trusted by '" + other.path + "'"), std::string::npos);
  EXPECT_NE(refused(elsewhere, {.ca = ca.path}).find("not for '127.0.0.1'"), std::string::npos);
  EXPECT_NE(refused(expired, {.ca = ca.path}).find("has expired"), std::string::npos);
  EXPECT_EQ(elsewhere.requests().size() + expired.requests().size(), 0u);  // nothing was sent
}

TEST(HttpClientTls, WrongSchemeIsNamed) {
  TemporaryDirectory directory;
  TestCa ca(directory);
  TestPeer plain({}, [](const std::string&) { return std::string("HTTP/1.1 400 Bad Request\r\n\r\n"); });
  HttpClient client;
  HttpResponse got = client.post(request_to(url(plain, "https"), {.ca = ca.path}, kSeconds));
  EXPECT_TRUE(got.failure == HttpFailure::Tls || got.failure == HttpFailure::Timeout) << got.error;
  TestPeer tls({.tls = ca.issue("server", "IP:127.0.0.1")}, [](const std::string&) { return ok(""); });
  got = client.post(request_to(url(tls)));
  EXPECT_EQ(got.failure, HttpFailure::Other) << got.error;
}

TEST(HttpClientTls, ClientCertificates) {
  TemporaryDirectory directory;
  TestCa ca(directory), other(directory, "other");
  Identity good = ca.issue("agent", "DNS:agent"), bad = other.issue("stranger", "DNS:x");
  TestPeer peer({.tls = ca.issue("server", "IP:127.0.0.1"), .client_ca = ca.path},
                [](const std::string&) { return ok("in"); });
  HttpClient client;
  auto post = [&](TlsFiles files) { return client.post(request_to(url(peer, "https"), std::move(files))); };
  HttpResponse got = post({.ca = ca.path, .certificate = good.certificate, .key = good.key});
  EXPECT_EQ(got.body, "in") << got.error;
  EXPECT_EQ(peer.client_name(), "agent");
  got = post({.ca = ca.path});
  EXPECT_EQ(got.failure, HttpFailure::Tls) << got.error;
  EXPECT_NE(got.error.find("requires a client certificate"), std::string::npos) << got.error;
  got = post({.ca = ca.path, .certificate = bad.certificate, .key = bad.key});
  EXPECT_EQ(got.failure, HttpFailure::Tls) << got.error;
  EXPECT_NE(got.error.find("does not accept the client certificate"), std::string::npos) << got.error;
  EXPECT_EQ(peer.requests().size(), 1u);
}

TEST(HttpClientTls, BadFilesAreNamed) {
  TemporaryDirectory directory;
  TestCa ca(directory);
  Identity one = ca.issue("one", "DNS:x"), two = ca.issue("two", "DNS:x");
  HttpClient client;
  auto error = [&](TlsFiles files) {
    HttpResponse got = client.post(request_to("https://127.0.0.1:1/", std::move(files)));
    EXPECT_EQ(got.failure, HttpFailure::Tls);
    return got.error;
  };
  EXPECT_NE(error({.ca = directory.file("missing")}).find("cannot read the CA certificate"), std::string::npos);
  EXPECT_NE(error({.ca = one.key}).find("contains no PEM certificate"), std::string::npos);
  EXPECT_NE(error({.certificate = one.certificate}).find("needs both files"), std::string::npos);
  std::string mixed = error({.certificate = one.certificate, .key = two.key});
  EXPECT_TRUE(mixed.find("does not belong") != std::string::npos || mixed.find("that matches") != std::string::npos)
      << mixed;
}

TEST(HttpClientTls, FilesAreReadAnewWhenTheyChange) {
  TemporaryDirectory directory;
  TestCa ca(directory), other(directory, "other");
  std::string trusted = directory.file("trusted.crt");
  std::filesystem::copy_file(other.path, trusted);
  Identity agent = ca.issue("agent", "DNS:agent");
  TestPeer peer({.tls = ca.issue("server", "IP:127.0.0.1"), .client_ca = ca.path},
                [](const std::string&) { return ok("in"); });
  HttpClient client;
  TlsFiles files{.ca = trusted, .certificate = agent.certificate, .key = agent.key};
  EXPECT_EQ(client.post(request_to(url(peer, "https"), files)).failure, HttpFailure::Tls);
  std::filesystem::copy_file(ca.path, trusted + "~");
  std::filesystem::rename(trusted + "~", trusted);
  EXPECT_EQ(client.post(request_to(url(peer, "https"), files)).body, "in");
  int before = peer.connections;
  EXPECT_EQ(client.post(request_to(url(peer, "https"), files)).body, "in");
  EXPECT_EQ(peer.connections, before);
  ca.issue("agent", "DNS:agent-renewed");  // the same paths
  EXPECT_EQ(client.post(request_to(url(peer, "https"), files)).body, "in");
  EXPECT_EQ(peer.connections, before + 1);  // with the new certificate
}

TEST(HttpUrl, PartsAndErrors) {
  Result<HttpUrl> got = parse_http_url("https://[fd00::1]/a?b#c");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->host, "fd00::1");
  EXPECT_EQ(got->port, "443");
  EXPECT_EQ(got->target, "/a?b");
  EXPECT_EQ(got->host_header(), "[fd00::1]");
  EXPECT_EQ(parse_http_url("http://h:81")->host_header(), "h:81");
  EXPECT_EQ(parse_http_url("http://h?q")->target, "/?q");
  for (const char* bad : {"", "h:80", "ftp://h", "http://", "http://h:0", "http://h:x", "http://a:b:1", "http://[::1",
                          "http://[::1]x", "http://u:p@h", "http://h/a b", "http://h/\r\nX: y"})
    EXPECT_FALSE(parse_http_url(bad)) << bad;
}

TEST(GetFromAgent, AnswerAndSentences) {
  HttpServer server({.address = "127.0.0.1:0"});
  server.route("/statusz", [](const WebRequest&) { return WebReply{.body = "{}"}; });
  ASSERT_TRUE(server.start());
  std::string address = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(*get_from_agent(address, "/statusz", 60 * kSeconds), "{}");
  EXPECT_EQ(*get_from_agent(":" + std::to_string(server.port()), "/statusz", 60 * kSeconds), "{}");
  EXPECT_EQ(get_from_agent(address, "/nothing", 60 * kSeconds).error().message(),
            "The agent on " + address + " answered 404: There is nothing at this path. Available: /statusz");
  server.stop();
  const std::string away = get_from_agent(address, "/statusz", 60 * kSeconds).error().message();
  EXPECT_NE(away.find("is `sonde agent` running"), std::string::npos) << away;
}

}  // namespace
}  // namespace sonde::api_test
