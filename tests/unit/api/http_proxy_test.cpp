// SPDX-License-Identifier: Apache-2.0
// The HTTP client through a proxy: the names below lead nowhere without it.
#include "agent/api/http_client.h"
#include "tests/support/loopback_proxy.h"
#include "tests/unit/api/certificate_support.h"
#include "tests/unit/api/peer_support.h"

namespace sonde::api_test {
namespace {

using test::LoopbackProxy;

HttpRequest request_via(const LoopbackProxy& proxy, const std::string& url, TlsFiles tls = {}) {
  HttpRequest request;
  request.url = url;
  request.body = "payload";
  request.timeout_ns = 20'000'000'000;
  request.tls = std::move(tls);
  request.via = {"127.0.0.1", proxy.url().substr(proxy.url().rfind(':') + 1), "Basic bWU6c2VjcmV0"};
  return request;
}

TEST(HttpProxy, PlainRequestsAreHandedOver) {
  TestPeer peer({}, [](const std::string&) { return ok("answer"); });
  LoopbackProxy proxy({{"collector.example:4318", peer.port}}, "Basic bWU6c2VjcmV0");
  HttpClient client;
  const HttpResponse got = client.post(request_via(proxy, "http://collector.example:4318/v1/metrics"));
  ASSERT_EQ(got.failure, HttpFailure::None) << got.error;
  EXPECT_EQ(got.body, "answer");
  EXPECT_EQ(proxy.asked()[0], "POST http://collector.example:4318/v1/metrics HTTP/1.1");
  EXPECT_NE(peer.requests()[0].find("Host: collector.example:4318\r\n"), std::string::npos);
}

TEST(HttpProxy, TlsIsAgreedOnWithThePeerOverATunnel) {
  TemporaryDirectory directory;
  TestCa ca(directory);
  const Identity identity = ca.issue("peer", "DNS:collector.example");
  TestPeer peer({.tls = identity}, [](const std::string&) { return ok("secret"); });
  LoopbackProxy proxy({{"collector.example:4318", peer.port}, {"other.example:4318", peer.port}});
  HttpClient client;
  const HttpResponse got = client.post(request_via(proxy, "https://collector.example:4318/", {.ca = ca.path}));
  ASSERT_EQ(got.failure, HttpFailure::None) << got.error;
  EXPECT_EQ(got.body, "secret");
  EXPECT_EQ(proxy.asked()[0], "CONNECT collector.example:4318 HTTP/1.1");
  EXPECT_EQ(peer.requests()[0].find("Proxy-Authorization"), std::string::npos) << "for the proxy alone";
  const HttpResponse wrong = client.post(request_via(proxy, "https://other.example:4318/", {.ca = ca.path}));
  EXPECT_EQ(wrong.failure, HttpFailure::Tls) << wrong.error;
}

TEST(HttpProxy, RefusalsAreTheProxys) {
  LoopbackProxy strict({}, "Basic other");
  HttpClient client;
  HttpResponse got = client.post(request_via(strict, "https://collector.example:4318/"));
  EXPECT_EQ(got.failure, HttpFailure::Connect);
  EXPECT_NE(got.error.find("answered 407 when asked for collector.example:4318"), std::string::npos) << got.error;
  HttpRequest nowhere = request_via(strict, "http://collector.example:4318/");
  nowhere.via.port = "1";
  got = client.post(nowhere);
  EXPECT_EQ(got.failure, HttpFailure::Connect);
  EXPECT_NE(got.error.find("127.0.0.1:1"), std::string::npos) << got.error;
}

}  // namespace
}  // namespace sonde::api_test
