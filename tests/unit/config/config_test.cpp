// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/base/text.h"
#include "agent/config/settings.h"

namespace sonde {
namespace {

class Configuration : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sonde_config_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    inputs_.env = [this](std::string_view name) -> std::optional<std::string> {
      auto found = variables_.find(std::string(name));
      return found == variables_.end() ? std::nullopt : std::optional(found->second);
    };
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
    return dir_ + "/" + name;
  }
  void use(const std::string& text) { inputs_.file = write("sonde.yaml", text); }

  LoadedConfig load() {
    auto loaded = load_config(inputs_);
    EXPECT_TRUE(loaded) << (loaded ? "" : loaded.error().message());
    return loaded ? *loaded : LoadedConfig{};
  }
  // Without the folder of this test, one sentence each.
  std::vector<std::string> problems() {
    auto loaded = load_config(inputs_);
    if (loaded) return {};
    std::vector<std::string> result;
    for (std::string_view line : split(loaded.error().message(), '\n')) {
      std::string sentence(line);
      for (auto at = sentence.find(dir_ + "/"); at != std::string::npos; at = sentence.find(dir_ + "/")) {
        sentence.erase(at, dir_.size() + 1);
      }
      result.push_back(sentence);
    }
    return result;
  }

  std::string dir_;
  std::map<std::string, std::string> variables_;
  ConfigInputs inputs_;
};

TEST_F(Configuration, DefaultsAreThoseOfTheStruct) {
  LoadedConfig loaded = load();
  EXPECT_TRUE(changed_settings(Config(), loaded.config).empty());
  EXPECT_EQ(loaded.sources.at("interval"), "default");
  EXPECT_EQ(loaded.sources.size(), settings().size());
  EXPECT_TRUE(loaded.warnings.empty());
}

TEST_F(Configuration, ReadsAFile) {
  use(R"(
log: {level: debug, format: json}
interval: 10s
export:
  to: [otlp, file]
  otlp:
    endpoint: https://collector:4317
    headers: {authorization: "Bearer a=b,c"}
    compression: gzip
    queue: {memory: 32MiB}
  file: {path: /tmp/metrics.jsonl, maxBytes: 10MB}
prometheus: {naming: legacy}
defaultPolicy: {preset: Detailed, probes: []}
limits: {subjects: 2000, seriesPerContainer: 300}
ceilings: {period: 5s}
collection: {cleanup: ClearAfterRead, idle: 60s}
listen: {http: ":18080", grpc: off}
resourceAttributes: {deployment.environment.name: prod}
)");
  Config c = load().config;
  EXPECT_EQ(c.log.level, "debug");
  EXPECT_EQ(c.log.format, LogFormat::Json);
  EXPECT_EQ(c.interval_ns, 10'000'000'000u);
  EXPECT_EQ(c.exports.to, (std::vector<ExportKind>{ExportKind::Otlp, ExportKind::File}));
  EXPECT_EQ(c.exports.otlp.endpoint, "https://collector:4317");
  EXPECT_EQ(c.exports.otlp.headers.at(0).second, "Bearer a=b,c");
  EXPECT_EQ(c.exports.otlp.compression, OtlpCompression::Gzip);
  EXPECT_EQ(c.exports.otlp.queue.max_bytes, 32u << 20);
  EXPECT_EQ(c.exports.file.max_bytes, 10'000'000u);
  EXPECT_EQ(c.exports.prometheus.naming, PrometheusNaming::Legacy);
  EXPECT_EQ(c.default_policy.preset, Level::Detailed);
  EXPECT_EQ(c.limits.slots, 2000u);
  EXPECT_EQ(c.ceilings.min_period_ms, 5000u);
  EXPECT_EQ(c.cleanup, CleanupStrategy::ClearAfterRead);
  EXPECT_EQ(c.idle_seconds, 60);
  EXPECT_EQ(c.listen.http, ":18080");
  EXPECT_EQ(c.listen.grpc, "");
  EXPECT_EQ(c.resource_attributes.at(0).first, "deployment.environment.name");
  ResolveContext context = c.resolve_context(true, 5);
  EXPECT_EQ(context.defaults.period_ms, 10'000u);
  EXPECT_EQ(context.defaults.series_per_container, 300);
  EXPECT_FALSE(context.cgroups_outside_containers);
  EXPECT_TRUE(c.resolve_context(false, 5).cgroups_outside_containers);
  ASSERT_EQ(c.default_policies().size(), 1u);
  EXPECT_EQ(c.default_policies()[0].preset, Level::Detailed);
}

TEST_F(Configuration, ShortFormOfExport) {
  use("export: [file]\n");
  EXPECT_EQ(load().config.exports.to, std::vector<ExportKind>{ExportKind::File});
  use("export: {to: []}\n");
  EXPECT_TRUE(load().config.exports.to.empty());
}

// Each layer beats those before; the source is told.
TEST_F(Configuration, FlagBeatsSondeBeatsAliasBeatsOtelBeatsFileBeatsProfile) {
  auto expect = [&](uint64_t seconds, const std::string& source) {
    LoadedConfig loaded = load();
    EXPECT_EQ(loaded.config.interval_ns, seconds * 1'000'000'000);
    std::string told = loaded.sources.at("interval");
    if (auto at = told.find(dir_ + "/"); at == 0) told.erase(0, dir_.size() + 1);
    EXPECT_EQ(told, source);
  };
  expect(30, "default");
  variables_["SONDE_PROFILE"] = "testing";
  expect(1, "profile testing");
  use("# comment\ninterval: 2s\n");
  expect(2, "sonde.yaml:2");
  variables_["OTEL_METRIC_EXPORT_INTERVAL"] = "3000";
  expect(3, "OTEL_METRIC_EXPORT_INTERVAL");
  variables_["EXPORT_INTERVAL"] = "4";
  expect(4, "EXPORT_INTERVAL");
  variables_["SONDE_INTERVAL"] = "5s";
  expect(5, "SONDE_INTERVAL");
  inputs_.flags["interval"] = "6s";
  expect(6, "--interval");
}

TEST_F(Configuration, EveryOtlpVariableHasItsPlace) {
  variables_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318"},
                {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://own:4318/v1/metrics"},
                {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"},
                {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret"},
                {"OTEL_EXPORTER_OTLP_TIMEOUT", "2500"},
                {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA"},
                {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"},
                {"OTEL_RESOURCE_ATTRIBUTES", "a=b%20c"},
                {"OTEL_METRICS_EXPORTER", "otlp,prometheus"},
                {"OTEL_LOG_LEVEL", "WARNING"}};
  LoadedConfig loaded = load();
  const OtlpOptions& otlp = loaded.config.exports.otlp;
  EXPECT_EQ(otlp.http_url(), "http://own:4318/v1/metrics");
  EXPECT_EQ(otlp.protocol, OtlpProtocol::HttpProtobuf);
  EXPECT_EQ(otlp.timeout_ns, 2'500'000'000u);
  EXPECT_EQ(otlp.temporality, OtlpTemporality::Delta);
  EXPECT_EQ(otlp.histograms, OtlpHistograms::Explicit);
  EXPECT_EQ(loaded.config.resource_attributes.at(0).second, "b c");
  EXPECT_EQ(loaded.config.exports.to.size(), 2u);
  EXPECT_EQ(loaded.config.log.level, "warn");
  EXPECT_EQ(loaded.sources.at("export.otlp.endpoint"), "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT");
  EXPECT_EQ(loaded.sources.at("export.otlp.headers"), "OTEL_EXPORTER_OTLP_HEADERS");
  // A flag is no signal's own endpoint: the path is appended.
  inputs_.flags["otlp-endpoint"] = "http://flag:4318";
  EXPECT_EQ(load().config.exports.otlp.http_url(), "http://flag:4318/v1/metrics");
}

TEST_F(Configuration, SpansFollowMetricsUnlessToldOtherwise) {
  use("export:\n  otlp: {endpoint: 'http://both:4318/v1/metrics', protocol: http/protobuf, headers: {a: b}}\n");
  OtlpOptions traces = load().config.exports.traces_otlp();
  EXPECT_EQ(traces.http_url(OtlpSignal::Traces), "http://both:4318/v1/traces");
  EXPECT_EQ(traces.headers, (HttpHeaders{{"a", "b"}}));
  use("export:\n  otlp: {endpoint: 'http://both:4317', timeout: 3s}\n"
      "  traces: {endpoint: 'http://tempo:4318', protocol: http/protobuf, compression: gzip, headers: {c: d}}\n");
  const ExportConfig exports = load().config.exports;
  traces = exports.traces_otlp();
  EXPECT_EQ(traces.http_url(OtlpSignal::Traces), "http://tempo:4318/v1/traces");
  EXPECT_EQ(traces.compression, OtlpCompression::Gzip);
  EXPECT_EQ(traces.headers, (HttpHeaders{{"c", "d"}}));
  EXPECT_EQ(traces.timeout_ns, 3'000'000'000u);
  EXPECT_EQ(exports.otlp.endpoint, "http://both:4317");
  EXPECT_EQ(exports.otlp.protocol, OtlpProtocol::Grpc);
  EXPECT_TRUE(exports.otlp.headers.empty());
  inputs_.flags["traces-endpoint"] = "http://flag:4318/v1/traces";
  EXPECT_EQ(load().config.exports.traces_otlp().http_url(OtlpSignal::Traces), "http://flag:4318/v1/traces");
}

TEST_F(Configuration, EveryOtlpVariableOfTracesHasItsPlace) {
  variables_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318"},
                {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"},
                {"OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=metrics"},
                {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:4318/own"},
                {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1000"},
                {"OTEL_EXPORTER_OTLP_TIMEOUT", "2000"}};
  OtlpOptions traces = load().config.exports.traces_otlp();
  // What is said about metrics alone does not concern spans, least of all a secret.
  EXPECT_EQ(traces.http_url(OtlpSignal::Traces), "http://general:4318/v1/traces");
  EXPECT_TRUE(traces.headers.empty());
  EXPECT_EQ(traces.timeout_ns, 2'000'000'000u);
  variables_["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://tempo:4318/otlp";
  variables_["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "api-key=traces";
  variables_["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] = "3000";
  variables_["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"] = "gzip";
  variables_["OTEL_TRACES_EXPORTER"] = "otlp";
  const LoadedConfig loaded = load();
  traces = loaded.config.exports.traces_otlp();
  EXPECT_EQ(traces.http_url(OtlpSignal::Traces), "http://tempo:4318/otlp");
  EXPECT_EQ(traces.headers, (HttpHeaders{{"api-key", "traces"}}));
  EXPECT_EQ(traces.timeout_ns, 3'000'000'000u);
  EXPECT_EQ(traces.compression, OtlpCompression::Gzip);
  EXPECT_EQ(loaded.sources.at("export.traces.endpoint"), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
  EXPECT_EQ(loaded.config.exports.otlp.http_url(), "http://metrics:4318/own");
  EXPECT_EQ(render_config(loaded).find("api-key: traces"), std::string::npos) << "a secret is shown";
  variables_["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/json";
  ASSERT_EQ(problems().size(), 1u);
  EXPECT_EQ(problems()[0].rfind("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: http/json is not supported", 0), 0u) << problems()[0];
}

TEST_F(Configuration, WhereSpansGo) {
  const auto to = [&] {
    const ExportConfig exports = load().config.exports;
    return std::string(exports.traces_go_to(ExportKind::Otlp) ? "otlp " : "") +
           (exports.traces_go_to(ExportKind::File) ? "file" : "");
  };
  EXPECT_EQ(to(), "otlp ");
  inputs_.flags["export"] = "prometheus";
  EXPECT_EQ(to(), "");
  inputs_.flags["export"] = "otlp,file";
  inputs_.flags["file"] = dir_ + "/out.jsonl";
  EXPECT_EQ(to(), "otlp file");
  inputs_.flags["traces"] = "none";
  EXPECT_EQ(to(), "");
  inputs_.flags["export"] = "prometheus";
  inputs_.flags["traces"] = "otlp";
  EXPECT_EQ(to(), "otlp ");
}

TEST_F(Configuration, CertificateAndKeyMayComeFromDifferentLayers) {
  const std::string certificate = write("cert.pem", "-----BEGIN CERTIFICATE-----\n");
  const std::string key = write("key.pem", "-----BEGIN PRIVATE KEY-----\n");
  use("export: {otlp: {tls: {certificate: " + certificate + "}}}\n");
  EXPECT_EQ(problems(), std::vector<std::string>{"export.otlp.tls.certificate needs export.otlp.tls.key as well"});
  variables_["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = key;
  LoadedConfig loaded = load();
  EXPECT_EQ(loaded.config.exports.otlp.tls.certificate, certificate);
  EXPECT_EQ(loaded.config.exports.otlp.tls.key, key);
  EXPECT_EQ(loaded.sources.at("export.otlp.tls.key"), "OTEL_EXPORTER_OTLP_CLIENT_KEY");
}

TEST_F(Configuration, AliasesOfOtherTools) {
  variables_ = {{"EXPORT_MODE", "grpc"},  {"EXPORT_INTERVAL", "15"}, {"OUTPUT_DIR", "/tmp"},
                {"LOG_LEVEL", "WARNING"}, {"HTTP_PORT", "8080"},     {"GRPC_PORT", "9090"}};
  Config c = load().config;
  EXPECT_TRUE(c.exports.to.empty());
  EXPECT_EQ(c.interval_ns, 15'000'000'000u);
  EXPECT_EQ(c.exports.file.path, "/tmp/");
  EXPECT_EQ(c.log.level, "warn");
  EXPECT_EQ(c.listen.http, "[::]:8080");
  EXPECT_EQ(c.listen.grpc, "127.0.0.1:9090");
  variables_["EXPORT_MODE"] = "file,grpc";
  EXPECT_EQ(load().config.exports.to, std::vector<ExportKind>{ExportKind::File});
}

TEST_F(Configuration, ProfilesInTheFile) {
  use("profile: development\ninterval: 20s\nprofiles:\n  development: {interval: 3s}\n  testing: {interval: 4s}\n");
  LoadedConfig loaded = load();
  EXPECT_EQ(loaded.config.profile, Profile::Development);
  EXPECT_EQ(loaded.config.interval_ns, 3'000'000'000u);
  EXPECT_EQ(loaded.config.log.level, "debug");
  EXPECT_EQ(loaded.sources.at("log.level"), "profile development");
  inputs_.flags["profile"] = "testing";
  EXPECT_EQ(load().config.interval_ns, 4'000'000'000u);
  inputs_.flags["profile"] = "production";
  EXPECT_EQ(load().config.interval_ns, 20'000'000'000u);
}

struct WrongFile {
  const char* text;
  const char* sentence;
};

TEST_F(Configuration, WrongFilesAreToldWithThePlace) {
  const WrongFile cases[] = {
      {"intervall: 5s\n", nullptr},
      {"interval: 5\n", "sonde.yaml:1:11: interval: '5' is not a duration: write for example 10s, 1m30s or 250ms"},
      {"interval: [5s]\n", "sonde.yaml:1:11: interval must be one value, not a list"},
      {"log: debug\n", "sonde.yaml:1:6: log must be a map with level, format, not 'debug'"},
      {"log: {levle: debug}\n",
       "sonde.yaml:1:7: log has no key 'levle', did you mean 'level' (allowed: level, format)"},
      {"log:\n  level: debgu\n",
       "sonde.yaml:2:10: log.level: must be trace, debug, info, warn, error or off, not 'debgu', did you mean 'debug'"},
      {"export: {to: [otlp, [file]]}\n", "sonde.yaml:1:21: export.to must be a list of words, not of a list"},
      {"export: {to: {otlp: true}}\n", "sonde.yaml:1:14: export.to must be a list, not a map"},
      {"export: {otlp: {headers: {a: [b]}}}\n", "sonde.yaml:1:30: export.otlp.headers.a must be a string, not a list"},
      {"listen: {http: {port: 80}}\n", "sonde.yaml:1:16: listen.http must be one value, not a map"},
      {"limits: {subjects: 5}\n", "sonde.yaml:1:20: limits.subjects: '5' is not a whole number from 16 to 1000000"},
      {"prometheus: {nameing: legacy}\n",
       "sonde.yaml:1:14: prometheus has no key 'nameing', did you mean 'naming' (allowed: naming)"},
      {"profile: test\n",
       "sonde.yaml:1:10: profile: must be production, development or testing, not 'test', did you mean 'testing'"},
      {"profiles: {test: {}}\n",
       "sonde.yaml:1:12: profiles has no key 'test', did you mean 'testing' (allowed: production, development, "
       "testing)"},
      {"profiles: {testing: {log: {levle: x}}}\n",
       "sonde.yaml:1:28: log has no key 'levle', did you mean 'level' (allowed: level, format)"},
      {"interval: 5s\ninterval: 6s\n", "sonde.yaml:2:1: 'interval' is given twice"},
      {"collection: {cleanup: 'a\n\n b'}\n",
       "sonde.yaml:1:23: collection.cleanup: must be KeepRecent, ClearAfterRead or NoCleanup, not 'a b'"},
      {"policies: \"/none\\nhere\"\n",
       "policies (sonde.yaml:1): cannot read the directory /none here: No such file or directory"},
      {"just words\n", "sonde.yaml:1:1: the configuration must be a map of keys, not 'just words'"},
      {"interval: 5s\n---\ninterval: 6s\n", "sonde.yaml:3:1: a configuration file must contain a single document"},
      {"interval: &a 5s\n", "sonde.yaml:1:11: anchors are not allowed, write out the value"},
      {"interval: {\n", "sonde.yaml:2:1: not valid YAML: end of map flow not found"},
      {"export: {otlp: {endpoint: 'http://a b'}}\n",
       "export.otlp.endpoint (sonde.yaml:1): \"http://a b\" has a space or control character; write for example "
       "http://collector:4317"},
      {"policies: /nonexistent\n",
       "policies (sonde.yaml:1): cannot read the directory /nonexistent: No such file or directory"},
      {"policies: /etc/passwd\n", "policies (sonde.yaml:1): /etc/passwd is not a directory"},
      {"export: {otlp: {tls: {ca: /nonexistent.pem}}}\n",
       "export.otlp.tls.ca (sonde.yaml:1): cannot read /nonexistent.pem: No such file or directory"},
      {"export: {otlp: {tls: {key: /etc/passwd}}}\n", "export.otlp.tls.key needs export.otlp.tls.certificate as well"},
      {"kubernetes: {apiServer: 'ftp://x'}\n",
       "kubernetes.apiServer (sonde.yaml:1) must be auto, none or a URL like https://host:6443, not 'ftp://x'"},
      {"kubernetes: {apiServer: 'http://x', tokenFile: /t}\n",
       "kubernetes.apiServer (sonde.yaml:1): a token is not sent over plain HTTP: write https:// or remove "
       "kubernetes.tokenFile"},
      {"target: {pid: 1, comm: init}\n", "target.pid and target.comm are mutually exclusive: set only one of them"},
  };
  for (const WrongFile& c : cases) {
    use(c.text);
    auto told = problems();
    ASSERT_EQ(told.size(), 1u) << c.text << join(told, "\n");
    if (c.sentence) {
      EXPECT_EQ(told[0], c.sentence);
    } else {
      EXPECT_TRUE(
          told[0].starts_with("sonde.yaml:1:1: the configuration has no key 'intervall', did you mean "
                              "'interval' (allowed: profile, log, interval, "))
          << told[0];
    }
  }
}

TEST_F(Configuration, RightWordsAtTheWrongLevelAreFound) {
  use("endpoint: http://a:4317\n");
  ASSERT_EQ(problems().size(), 1u);
  EXPECT_NE(problems()[0].find("has no key 'endpoint', did you mean 'export.otlp.endpoint'"), std::string::npos);
}

TEST_F(Configuration, AllProblemsAreToldAtOnce) {
  use("interval: x\nlog: {level: y}\n");
  variables_["SONDE_EXPORT"] = "z";
  inputs_.flags["duration"] = "w";
  inputs_.flags["polices"] = "p";
  EXPECT_EQ(problems().size(), 5u);
}

TEST_F(Configuration, WrongVariablesAndFlags) {
  auto one = [&](const std::string& name, const std::string& value) {
    variables_ = {{name, value}};
    return join(problems(), "\n");
  };
  EXPECT_EQ(one("SONDE_LOG_LEVEL", "loud"),
            "SONDE_LOG_LEVEL: must be trace, debug, info, warn, error or off, not 'loud'");
  EXPECT_EQ(one("OTEL_METRIC_EXPORT_INTERVAL", "10s"),
            "OTEL_METRIC_EXPORT_INTERVAL: '10s' is not a whole number from 1 to 3600000 (milliseconds)");
  EXPECT_EQ(one("HTTP_PORT", "http"), "HTTP_PORT: 'http' is not a whole number from 0 to 65535");
  EXPECT_EQ(one("EXPORT_MODE", "kafka"), "EXPORT_MODE: must be otlp, prometheus, file or none, not 'kafka'");
  EXPECT_NE(one("OTEL_EXPORTER_OTLP_PROTOCOL", "tcp").find("OTEL_EXPORTER_OTLP_PROTOCOL"), std::string::npos);
  variables_.clear();
  inputs_.flags = {{"intervall", "5s"}};
  EXPECT_EQ(problems(), std::vector<std::string>{"there is no flag --intervall, did you mean --interval"});
  inputs_.flags = {{"export", "file,kafka"}};
  EXPECT_EQ(problems(), std::vector<std::string>{"--export: must be otlp, prometheus, file or none, not 'kafka'"});
}

TEST_F(Configuration, MissingFileIsAnError) {
  inputs_.file = dir_ + "/none.yaml";
  EXPECT_EQ(problems(),
            std::vector<std::string>{"the configuration: cannot open none.yaml: No such file or directory"});
  inputs_.file.clear();
  variables_["SONDE_CONFIG"] = write("other.yaml", "interval: 9s\n");
  EXPECT_EQ(load().config.interval_ns, 9'000'000'000u);
}

TEST_F(Configuration, EmptyVariablesSayNothing) {
  variables_ = {{"SONDE_INTERVAL", ""}, {"LOG_LEVEL", " "}, {"SONDE_POLICIES", ""}, {"SONDE_CONFIG", ""}};
  EXPECT_TRUE(changed_settings(Config(), load().config).empty());
}

TEST_F(Configuration, UnknownVariablesAreWarnedOfExceptThoseOfAService) {
  inputs_.env_names = {"SONDE_INTERVALL", "SONDE_SERVICE_HOST", "SONDE_PORT", "SONDE_PORT_18080_TCP", "HOME",
                       "SONDE_INTERVAL",  "SONDE_CONFIG"};
  EXPECT_EQ(load().warnings,
            std::vector<std::string>{"the variable SONDE_INTERVALL has no effect, did you mean SONDE_INTERVAL"});
}

TEST_F(Configuration, NothingToMeasureIsWarnedOf) {
  use("defaultPolicy: {enabled: false}\n");
  EXPECT_EQ(load().warnings.size(), 1u);
  EXPECT_TRUE(load().config.default_policies().empty());
}

TEST_F(Configuration, WhatIsRenderedIsReadAgain) {
  use("interval: 10s\nexport:\n  to: [file, otlp]\n  otlp: {headers: {api-key: s3cret}}\nlog: {level: debug}\n"
      "resourceAttributes: {team: \"a, b: c\"}\nlisten: {unixSocket: /run/sonde/sonde.sock}\n");
  inputs_.flags["node-name"] = "n \"1\"";
  LoadedConfig before = load();
  std::string text = render_config(before);
  EXPECT_EQ(text.find("s3cret"), std::string::npos);
  EXPECT_NE(text.find("headers: {api-key: \"<redacted>\"}"), std::string::npos);
  EXPECT_NE(text.find("interval: 10s  # "), std::string::npos);
  EXPECT_NE(text.find("nodeName: \"n \\\"1\\\"\"  # --node-name"), std::string::npos);
  inputs_.flags.clear();
  use(text);
  Config after = load().config;
  EXPECT_EQ(changed_settings(before.config, after), std::vector<std::string>{"export.otlp.headers"});
}

}  // namespace
}  // namespace sonde
