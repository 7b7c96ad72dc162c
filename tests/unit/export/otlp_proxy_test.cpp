// SPDX-License-Identifier: Apache-2.0
// OTLP over gRPC through an HTTP proxy, and past it. The receiver's name leads nowhere but by the proxy.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "agent/export/otlp_exporter.h"
#include "tests/support/loopback_proxy.h"
#include "tests/unit/export/otlp_certificates.h"
#include "tests/unit/export/otlp_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr const char* kReceiver = "collector.example:4317";

std::unique_ptr<Exporter> exporter_to(const std::string& endpoint, const std::string& proxy, const std::string& ca = "") {
  OtlpOptions options;
  options.endpoint = endpoint;
  options.proxy = proxy;
  options.tls.ca = ca;
  options.timeout_ns = 5 * kSecondNs;
  options.retry = {.initial_ns = 20 * kMs, .max_ns = 50 * kMs};
  auto made = make_otlp_exporter(options);
  if (!made) throw std::runtime_error(made.error().message());
  return std::move(*made);
}

TEST(OtlpProxy, PlainGrpcGoesThrough) {
  OtlpServer server;
  LoopbackProxy proxy({{kReceiver, static_cast<uint16_t>(server.port())}}, "Basic bWU6c2VjcmV0");
  auto exporter = exporter_to(std::string("http://") + kReceiver, proxy.url("me:secret"));
  exporter->push(many_sums(1, 3));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 3U) << exporter->stats().last_error;
  ASSERT_FALSE(proxy.asked().empty());
  EXPECT_TRUE(proxy.asked()[0].starts_with(std::string("CONNECT ") + kReceiver + " ")) << proxy.asked()[0];
}

TEST(OtlpProxy, OverTlsTheReceiverProvesWhoItIs) {
  const Authority authority("Sonde Test");
  const std::filesystem::path ca = std::filesystem::path(testing::TempDir()) / "sonde-proxy-ca.pem";
  std::ofstream(ca) << authority.certificate();
  const Pem pem = authority.issue("collector");
  grpc::SslServerCredentialsOptions tls;
  tls.pem_key_cert_pairs.push_back({pem.key, pem.certificate});
  OtlpServer server({}, grpc::SslServerCredentials(tls));
  const auto port = static_cast<uint16_t>(server.port());
  LoopbackProxy proxy({{kReceiver, port}, {"other.example:4317", port}});
  auto exporter = exporter_to(std::string("https://") + kReceiver, proxy.url(), ca);
  exporter->push(many_sums(1, 1));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 1U) << exporter->stats().last_error;
  // A proxy that leads elsewhere gets nothing: the certificate is for another name.
  auto wrong = exporter_to("https://other.example:4317", proxy.url(), ca);
  wrong->push(many_sums(1, 1));
  wrong->flush(kSecondNs);
  EXPECT_EQ(server.accepted().size(), 1U);
  EXPECT_NE(wrong->stats().last_error.find("through the proxy 127.0.0.1:"), std::string::npos) << wrong->stats().last_error;
  std::filesystem::remove(ca);
}

TEST(OtlpProxy, AFailureNamesTheProxyAndWhoSaidSo) {
  LoopbackProxy proxy({});
  auto exporter = exporter_to(std::string("http://") + kReceiver, proxy.url());
  exporter->push(many_sums(1, 1));
  exporter->flush(kSecondNs);
  const std::string error = exporter->stats().last_error;
  EXPECT_NE(error.find("through the proxy 127.0.0.1:"), std::string::npos) << error;
  EXPECT_NE(error.find("(from export.otlp.proxy)"), std::string::npos) << error;
}

TEST(OtlpProxy, WhatIsOnThisMachineIsNotSentToTheProxyOfTheEnvironment) {
  LoopbackProxy proxy({});
  for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy", "ALL_PROXY"}) {
    setenv(name, proxy.url().c_str(), 1);
  }
  OtlpServer server;
  auto exporter = exporter_to(server.url(), "");
  exporter->push(many_sums(1, 2));
  exporter->flush(10 * kSecondNs);
  for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy", "ALL_PROXY"}) unsetenv(name);
  EXPECT_EQ(server.accepted().size(), 2U) << exporter->stats().last_error;
  EXPECT_TRUE(proxy.asked().empty());
}

}  // namespace
}  // namespace sonde
