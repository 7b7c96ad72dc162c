// SPDX-License-Identifier: Apache-2.0
#include "agent/export/proxy.h"

#include <gtest/gtest.h>

#include <map>

namespace sonde {
namespace {

using Environment = std::map<std::string, std::string>;

GetEnv env_of(Environment values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(std::string(name));
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

// "" for directly, else who; or the error.
std::string way(const std::string& host, const std::string& port, bool tls, const std::string& setting, Environment values) {
  auto proxy = proxy_for(host, port, tls, setting, env_of(std::move(values)));
  if (!proxy) return "error: " + proxy.error().message();
  return *proxy ? (*proxy)->text() : "";
}

TEST(Proxy, TheVariableFitsTheReceiver) {
  const Environment both{{"HTTPS_PROXY", "http://s:1"}, {"http_proxy", "p:2"}, {"ALL_PROXY", "http://a:3"}};
  EXPECT_EQ(way("collector", "4317", true, "", both), "the proxy s:1 (from HTTPS_PROXY)");
  EXPECT_EQ(way("collector", "4317", false, "", both), "the proxy p:2 (from http_proxy)");
  EXPECT_EQ(way("collector", "4317", true, "", {{"all_proxy", "http://a:3/"}}), "the proxy a:3 (from all_proxy)");
  EXPECT_EQ(way("collector", "4317", true, "", {{"HTTP_PROXY", "http://p:2"}}), "");
  EXPECT_EQ(way("collector", "4317", true, "", {{"https_proxy", "http://small:1"}, {"HTTPS_PROXY", "http://big:1"}}),
            "the proxy small:1 (from https_proxy)");
  EXPECT_EQ(way("collector", "4317", false, "", {}), "");
}

TEST(Proxy, TheSettingWinsOverTheEnvironment) {
  const Environment all{{"HTTP_PROXY", "http://p:2"}, {"NO_PROXY", "*"}};
  EXPECT_EQ(way("collector", "4318", false, "http://mine:3128", all), "the proxy mine:3128 (from export.otlp.proxy)");
  EXPECT_EQ(way("collector", "4318", false, "none", {{"HTTP_PROXY", "http://p:2"}}), "");
}

TEST(Proxy, WhatIsHereIsReachedDirectlyWhateverIsSaid) {
  const Environment all{{"HTTP_PROXY", "http://p:2"}, {"HOST_IP", "10.1.2.3"}, {"NODE_IP", "fd00:0::1"}};
  for (const char* host : {"localhost", "127.0.0.1", "127.8.9.1", "::1", "10.1.2.3", "fd00::1"}) {
    EXPECT_EQ(way(host, "4317", false, "", all), "") << host;
    EXPECT_EQ(way(host, "4317", false, "http://mine:1", all), "") << host;
  }
  EXPECT_NE(way("10.1.2.4", "4317", false, "", all), "");
}

TEST(Proxy, ExceptionsByNameDomainAddressRangeAndPort) {
  const auto direct = [](const std::string& host, const std::string& port, const std::string& exceptions) {
    return way(host, port, false, "", {{"HTTP_PROXY", "http://p:2"}, {"NO_PROXY", exceptions}}).empty();
  };
  EXPECT_TRUE(direct("collector.corp", "4317", "a, Collector.Corp ,b"));
  EXPECT_TRUE(direct("otel.collector.corp", "4317", "corp"));
  EXPECT_TRUE(direct("otel.collector.corp", "4317", ".corp"));
  EXPECT_TRUE(direct("otel.collector.corp", "4317", "*.corp"));
  EXPECT_FALSE(direct("collectorcorp", "4317", "corp"));
  EXPECT_TRUE(direct("10.4.5.6", "4317", "10.0.0.0/8"));
  EXPECT_FALSE(direct("11.4.5.6", "4317", "10.0.0.0/8"));
  EXPECT_TRUE(direct("10.4.7.255", "4317", "10.4.6.0/23"));
  EXPECT_FALSE(direct("10.4.8.0", "4317", "10.4.6.0/23"));
  EXPECT_TRUE(direct("fd00:1::5", "4317", "fd00::/16"));
  EXPECT_FALSE(direct("10.4.5.6", "4317", "10.0.0.0/99"));
  EXPECT_FALSE(direct("collector", "4317", "10.0.0.0/8"));
  EXPECT_TRUE(direct("collector", "4317", "collector:4317"));
  EXPECT_FALSE(direct("collector", "4318", "collector:4317"));
  EXPECT_TRUE(direct("fd00::2", "4317", "[fd00::2]:4317"));
  EXPECT_TRUE(direct("anything", "1", "*"));
}

TEST(Proxy, PasswordsGoIntoTheHeaderAndNowhereElse) {
  const auto proxy = proxy_for("c", "1", false, "http://me:se%40cret@[fd00::9]:3128", env_of({}));
  ASSERT_TRUE(proxy && *proxy);
  EXPECT_EQ((*proxy)->authorization, "Basic bWU6c2VAY3JldA==");
  EXPECT_EQ((*proxy)->authority(), "[fd00::9]:3128");
  EXPECT_EQ((*proxy)->text().find("cret"), std::string::npos);
  for (const char* wrong : {"socks5://me:secret@p:1", "http://me:secret@", "http://me:secret@p:port"}) {
    const std::string said = way("c", "1", false, wrong, {});
    EXPECT_TRUE(said.starts_with("error: export.otlp.proxy")) << said;
    EXPECT_EQ(said.find("secret"), std::string::npos) << said;
  }
}

TEST(Proxy, OfTheExportersOptions) {
  const GetEnv env = env_of({{"HTTP_PROXY", "http://p:2"}, {"HTTPS_PROXY", "http://s:1"}, {"no_proxy", "inside:4317"}});
  const auto of = [&](OtlpProtocol protocol, const std::string& endpoint, bool insecure = false) {
    OtlpOptions options;
    options.protocol = protocol;
    options.endpoint = endpoint;
    options.insecure = insecure;
    const auto proxy = proxy_for(options, env);
    return proxy && *proxy ? (*proxy)->host : std::string();
  };
  EXPECT_EQ(of(OtlpProtocol::Grpc, "http://collector:4317"), "p");
  EXPECT_EQ(of(OtlpProtocol::Grpc, "https://collector:4317"), "s");
  EXPECT_EQ(of(OtlpProtocol::Grpc, "dns:///collector:4317", true), "p");
  EXPECT_EQ(of(OtlpProtocol::Grpc, "dns:collector:4317", true), "p");
  EXPECT_EQ(of(OtlpProtocol::Grpc, "http://inside"), "") << "4317 is what it says when it says none";
  EXPECT_EQ(of(OtlpProtocol::Grpc, "unix:/run/otel.sock"), "");
  EXPECT_EQ(of(OtlpProtocol::Grpc, ""), "");
  EXPECT_EQ(of(OtlpProtocol::HttpProtobuf, ""), "");
  EXPECT_EQ(of(OtlpProtocol::HttpProtobuf, "https://collector/otlp"), "s");
  EXPECT_EQ(of(OtlpProtocol::HttpProtobuf, "http://[fd00::7]:4318"), "p");
  EXPECT_EQ(of(OtlpProtocol::HttpProtobuf, "http://inside:4317"), "");
}

}  // namespace
}  // namespace sonde
