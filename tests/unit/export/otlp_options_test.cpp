// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_options.h"

#include <gtest/gtest.h>

#include <map>

namespace sonde {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

Result<OtlpOptions> read(const Variables& variables, OtlpOptions base = {}, OtlpSignal signal = OtlpSignal::Metrics) {
  return otlp_options_from_env(
      [&](std::string_view name) -> std::optional<std::string> {
        auto it = variables.find(name);
        if (it == variables.end()) return std::nullopt;
        return it->second;
      },
      std::move(base), signal);
}

std::string error_of(const Variables& variables) {
  auto options = read(variables);
  return options ? "no error" : options.error().message();
}

TEST(OtlpOptions, DefaultsAreThoseOfTheSpecification) {
  auto options = read({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->grpc_target(), "dns:///localhost:4317");
  EXPECT_EQ(options->http_url(), "http://localhost:4318/v1/metrics");
  EXPECT_EQ(options->timeout_ns, 10'000'000'000U);
  EXPECT_FALSE(options->uses_tls());
}

TEST(OtlpOptions, ReadsEveryVariable) {
  auto options = read({{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"},
                       {"OTEL_EXPORTER_OTLP_INSECURE", "True"},
                       {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"},
                       {"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"},
                       {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"},
                       {"OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x%3D, x-tenant = a%2Cb ,,"},
                       {"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"},
                       {"OTEL_EXPORTER_OTLP_TIMEOUT", "2500"},
                       {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
                       {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA"},
                       {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"}});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->grpc_target(), "dns:///collector:4317");
  EXPECT_FALSE(options->uses_tls());
  EXPECT_EQ(options->tls, (TlsFiles{"/ca.pem", "/cert.pem", "/key.pem"}));
  EXPECT_EQ(options->headers, (HttpHeaders{{"authorization", "Bearer x="}, {"x-tenant", "a,b"}}));
  EXPECT_EQ(options->compression, OtlpCompression::Gzip);
  EXPECT_EQ(options->timeout_ns, 2'500'000'000U);
  EXPECT_EQ(options->temporality, OtlpTemporality::Delta);
  EXPECT_EQ(options->histograms, OtlpHistograms::Explicit);
}

TEST(OtlpOptions, TheSignalsOwnVariableWins) {
  Variables variables{{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318/base"},
                      {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://metrics/api/v1/otlp"},
                      {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
                      {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"},
                      {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1"},
                      {"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", ""}};
  auto metrics = read(variables);
  ASSERT_TRUE(metrics);
  EXPECT_EQ(metrics->http_url(), "https://metrics/api/v1/otlp");  // used as it is
  EXPECT_TRUE(metrics->uses_tls());
  EXPECT_EQ(metrics->timeout_ns, 10'000'000'000U);
  auto traces = read(variables, {}, OtlpSignal::Traces);
  ASSERT_TRUE(traces);
  EXPECT_EQ(traces->http_url(OtlpSignal::Traces), "http://general:4318/base/v1/traces");
  EXPECT_EQ(traces->timeout_ns, 1'000'000U);
}

TEST(OtlpOptions, LiesOverWhatWasThereBefore) {
  OtlpOptions base;
  base.endpoint = "http://from-file:4317";
  base.compression = OtlpCompression::Gzip;
  auto options = read({{"OTEL_EXPORTER_OTLP_TIMEOUT", "7"}}, base);
  ASSERT_TRUE(options);
  EXPECT_EQ(options->endpoint, "http://from-file:4317");
  EXPECT_EQ(options->compression, OtlpCompression::Gzip);
  EXPECT_EQ(options->timeout_ns, 7'000'000U);
}

TEST(OtlpOptions, TargetsAndUrls) {
  const auto with = [](std::string endpoint, bool insecure = false) {
    OtlpOptions options;
    options.endpoint = std::move(endpoint);
    options.insecure = insecure;
    return options;
  };
  EXPECT_EQ(with("http://host:1/ignored").grpc_target(), "dns:///host:1");
  EXPECT_EQ(with("HTTPS://host").grpc_target(), "dns:///host:4317");
  EXPECT_EQ(with("http://[::1]:55").grpc_target(), "dns:///[::1]:55");
  EXPECT_EQ(with("http://[::1]").grpc_target(), "dns:///[::1]:4317");
  EXPECT_EQ(with("unix:/run/otel.sock").grpc_target(), "unix:/run/otel.sock");
  EXPECT_FALSE(with("unix:/run/otel.sock").uses_tls());
  EXPECT_EQ(with("dns://8.8.8.8/host:1").grpc_target(), "dns://8.8.8.8/host:1");
  EXPECT_TRUE(with("host:1").uses_tls());
  EXPECT_FALSE(with("host:1", true).uses_tls());
  EXPECT_TRUE(with("https://host:1", true).uses_tls());  // the scheme wins
  EXPECT_FALSE(with("http://host:1").uses_tls());
  EXPECT_EQ(with("host:1", true).http_url(), "http://host:1/v1/metrics");
  EXPECT_EQ(with("http://host:1/").http_url(), "http://host:1/v1/metrics");
}

// http://$(HOST_IP):4317 of a pod, where the node's address is of IPv6.
TEST(OtlpOptions, AddressesOfIpv6GetTheirBrackets) {
  struct Row {
    const char *endpoint, *grpc, *http;
  };
  const Row rows[] = {
      {"http://fd00:10::7:4317", "dns:///[fd00:10::7]:4317", "http://[fd00:10::7]:4317/v1/metrics"},
      {"https://fd00:10::7:4318/x", "dns:///[fd00:10::7]:4318", "https://[fd00:10::7]:4318/x/v1/metrics"},
      {"fd00:10::7:4317", "dns:///[fd00:10::7]:4317", "https://[fd00:10::7]:4317/v1/metrics"},
      {"http://1:2:3:4:5:6:7:8", "dns:///[1:2:3:4:5:6:7:8]:4317", "http://[1:2:3:4:5:6:7:8]/v1/metrics"},
      {"http://1:2:3:4:5:6:7:8:9", "dns:///[1:2:3:4:5:6:7:8]:9", "http://[1:2:3:4:5:6:7:8]:9/v1/metrics"},
      {"http://fe80::a:b", "dns:///[fe80::a:b]:4317", "http://[fe80::a:b]/v1/metrics"},
      {"http://::ffff:10.0.0.1:4317", "dns:///[::ffff:10.0.0.1]:4317", "http://[::ffff:10.0.0.1]:4317/v1/metrics"},
      {"http://[fd00::7]:4317", "dns:///[fd00::7]:4317", "http://[fd00::7]:4317/v1/metrics"},
      {"http://10.0.0.7:4317", "dns:///10.0.0.7:4317", "http://10.0.0.7:4317/v1/metrics"},
  };
  for (const Row& row : rows) {
    OtlpOptions options;
    options.endpoint = row.endpoint;
    EXPECT_TRUE(check_otlp_endpoint(row.endpoint, OtlpProtocol::HttpProtobuf)) << row.endpoint;
    EXPECT_EQ(options.grpc_target(), row.grpc) << row.endpoint;
    EXPECT_EQ(options.http_url(OtlpSignal::Metrics), row.http) << row.endpoint;
  }
}

TEST(OtlpOptions, ErrorsAreOneSentenceThatNamesTheVariable) {
  EXPECT_EQ(error_of({{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"}}),
            "OTEL_EXPORTER_OTLP_PROTOCOL: http/json is not supported; use grpc or http/protobuf");
  EXPECT_EQ(error_of({{"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd"}}),
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: \"zstd\" is not a compression; use gzip or none");
  EXPECT_EQ(error_of({{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s"}}),
            "OTEL_EXPORTER_OTLP_TIMEOUT: \"10s\" is not a number of milliseconds between 1 and 3600000");
  EXPECT_EQ(error_of({{"OTEL_EXPORTER_OTLP_INSECURE", "yes"}}),
            "OTEL_EXPORTER_OTLP_INSECURE: \"yes\" is not a boolean; use true or false");
  EXPECT_EQ(error_of({{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k"}}),
            "a client key is set without its certificate; set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too");
  EXPECT_EQ(error_of({{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum"}}),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: \"sum\" is not a temporality; use cumulative, delta or "
            "lowmemory");
  // A header may be a secret: errors do not repeat it.
  for (const char* bad : {"token", "=x", "a=%2", "a=%zz", "b ad=1", "a=%0a"}) {
    const std::string error = error_of({{"OTEL_EXPORTER_OTLP_HEADERS", bad}});
    EXPECT_EQ(error.find("OTEL_EXPORTER_OTLP_HEADERS: "), 0U) << error;
    EXPECT_EQ(error.find("token"), std::string::npos) << error;
  }
}

TEST(OtlpOptions, RefusesEndpointsThatCannotBe) {
  for (const char* bad : {"http://", "http://:4317", "ftp://x", "a b", "http://host:0", "http://host:65536",
                          "host:http", "http://user:pw@host:1", "a:b:4317", "http://fd00::1::2:4317", "/path"}) {
    auto result = check_otlp_endpoint(bad, OtlpProtocol::Grpc);
    EXPECT_FALSE(result) << bad;
    if (!result) {
      EXPECT_NE(result.error().message().find("http://collector:4317"), std::string::npos);
    }
  }
  for (const char* good :
       {"http://host:4317", "host", "https://[::1]:1/x", "unix:/x", "dns:///a:1", "::1:4317", "http://fd00::7:4317"}) {
    EXPECT_TRUE(check_otlp_endpoint(good, OtlpProtocol::Grpc)) << good;
  }
  EXPECT_FALSE(check_otlp_endpoint("dns:///a:1", OtlpProtocol::HttpProtobuf));
}

}  // namespace
}  // namespace sonde
