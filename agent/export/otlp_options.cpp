// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_options.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "agent/base/host_port.h"
#include "agent/base/percent.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

bool has_scheme(std::string_view endpoint, std::string_view scheme) {
  return endpoint.size() >= scheme.size() && lower(endpoint.substr(0, scheme.size())) == scheme;
}

// What follows http:// or https://; everything if there is no such scheme.
std::string_view without_scheme(std::string_view endpoint) {
  if (has_scheme(endpoint, "https://")) return endpoint.substr(8);
  if (has_scheme(endpoint, "http://")) return endpoint.substr(7);
  return endpoint;
}

// unix:/path, dns:///host, ipv4:1.2.3.4:5: gRPC knows them.
bool is_grpc_target(std::string_view endpoint) {
  for (std::string_view scheme : {"unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:", "vsock:"}) {
    if (has_scheme(endpoint, scheme)) return true;
  }
  return false;
}

std::string_view authority_of(std::string_view endpoint) {
  const std::string_view rest = without_scheme(endpoint);
  return rest.substr(0, rest.find('/'));
}

// http://$(HOST_IP):4317 on a node whose address is of IPv6: brackets around the address. What follows the last colon is the
// port wherever it can be one.
std::string with_brackets(std::string_view endpoint) {
  const std::string_view authority = authority_of(endpoint);
  const size_t colon = authority.rfind(':');
  if (is_grpc_target(endpoint) || colon == std::string_view::npos) return std::string(endpoint);
  const std::string_view host = authority.substr(0, colon);
  std::string text;
  if (is_ipv6_address(host) && parse_integer(authority.substr(colon + 1), 1, 65535)) {
    text = host_port_text(host, authority.substr(colon + 1));
  } else if (is_ipv6_address(authority)) {
    text = bracketed(authority);
  } else {
    return std::string(endpoint);
  }
  const size_t begin = static_cast<size_t>(authority.data() - endpoint.data());
  return std::string(endpoint).replace(begin, authority.size(), text);
}

Result<bool> parse_bool(std::string_view text) {
  const std::string word = lower(text);
  if (word == "true") return true;
  if (word == "false") return false;
  return Error(fmt::format("\"{}\" is not a boolean; use true or false", text));
}

Result<uint64_t> parse_milliseconds(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > 3'600'000) {
    return Error(fmt::format("\"{}\" is not a number of milliseconds between 1 and 3600000", text));
  }
  return value;
}

// One variable in its two forms; which of them was set goes into the error.
struct Variable {
  std::string name;
  std::string value;
  bool own = false;  // the signal's
};

class Environment {
 public:
  Environment(const GetEnv& get, OtlpSignal signal)
      : get_(get), signal_(signal == OtlpSignal::Metrics ? "METRICS_" : "TRACES_") {}

  std::optional<Variable> find(std::string_view what) const {
    if (auto own = read(fmt::format("OTEL_EXPORTER_OTLP_{}{}", signal_, what), true)) return own;
    return read(fmt::format("OTEL_EXPORTER_OTLP_{}", what), false);
  }

  // Sets `target` from `parse`, if the variable is set.
  template <typename T, typename Parse>
  Result<void> take(std::string_view what, T& target, Parse parse) const {
    auto variable = find(what);
    if (!variable) return {};
    auto value = parse(std::string_view(variable->value));
    if (!value) return value.error().with(variable->name);
    target = std::move(*value);
    return {};
  }

 private:
  std::optional<Variable> read(std::string name, bool own) const {
    auto value = get_(name);
    if (!value || trim(*value).empty()) return std::nullopt;
    return Variable{std::move(name), std::string(trim(*value)), own};
  }

  const GetEnv& get_;
  std::string_view signal_;
};

}  // namespace

GetEnv process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (!value) return std::nullopt;
    return std::string(value);
  };
}

Result<OtlpProtocol> parse_otlp_protocol(std::string_view text) {
  if (text == "grpc") return OtlpProtocol::Grpc;
  if (text == "http/protobuf") return OtlpProtocol::HttpProtobuf;
  if (text == "http/json") return Error("http/json is not supported; use grpc or http/protobuf");
  return Error(fmt::format("\"{}\" is not a protocol; use grpc or http/protobuf", text));
}

Result<OtlpCompression> parse_otlp_compression(std::string_view text) {
  if (text == "gzip") return OtlpCompression::Gzip;
  if (text == "none") return OtlpCompression::None;
  return Error(fmt::format("\"{}\" is not a compression; use gzip or none", text));
}

Result<OtlpTemporality> parse_otlp_temporality(std::string_view text) {
  const std::string word = lower(text);
  if (word == "cumulative") return OtlpTemporality::Cumulative;
  if (word == "delta") return OtlpTemporality::Delta;
  if (word == "lowmemory") return OtlpTemporality::LowMemory;
  return Error(fmt::format("\"{}\" is not a temporality; use cumulative, delta or lowmemory", text));
}

Result<OtlpHistograms> parse_otlp_histograms(std::string_view text) {
  const std::string word = lower(text);
  if (word == "base2_exponential_bucket_histogram") return OtlpHistograms::Exponential;
  if (word == "explicit_bucket_histogram") return OtlpHistograms::Explicit;
  return Error(fmt::format(
      "\"{}\" is not a histogram aggregation; use base2_exponential_bucket_histogram or explicit_bucket_histogram",
      text));
}

Result<std::vector<std::pair<std::string, std::string>>> parse_otlp_headers(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> headers;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view item = trim(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos || trim(item.substr(0, equals)).empty()) {
      return Error("headers are name=value pairs, separated by commas");  // never quote it: it may be a secret
    }
    auto name = percent_decoded(trim(item.substr(0, equals)));
    auto value = percent_decoded(trim(item.substr(equals + 1)));
    if (!name || !value) return Error("a header has a % without two hex digits; write %25 for a %");
    for (char c : *name) {
      const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                        c == '_' || c == '.';
      if (!fine) return Error("a header name consists of letters, digits, '-', '_' and '.'");
    }
    for (unsigned char c : *value) {
      if (c < 0x20 || c == 0x7f) return Error(fmt::format("the value of header {} has a control character", *name));
    }
    headers.emplace_back(lower(*name), std::move(*value));
  }
  return headers;
}

Result<void> check_otlp_endpoint(std::string_view given, OtlpProtocol protocol) {
  const std::string endpoint = with_brackets(given);
  const auto wrong = [&](std::string_view why) {
    return Error(fmt::format("\"{}\" {}; write for example {}", endpoint, why,
                             protocol == OtlpProtocol::Grpc ? "http://collector:4317" : "http://collector:4318"));
  };
  if (std::any_of(endpoint.begin(), endpoint.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; })) {
    return wrong("has a space or control character");
  }
  if (protocol == OtlpProtocol::Grpc && is_grpc_target(endpoint)) return {};
  if (endpoint.find("://") != std::string_view::npos && !has_scheme(endpoint, "http://") &&
      !has_scheme(endpoint, "https://")) {
    return wrong("has an unknown scheme");
  }
  const std::string_view authority = authority_of(endpoint);
  if (authority.empty()) return wrong("has no host");
  if (authority.find('@') != std::string_view::npos) return wrong("contains a user name, use a header for credentials");
  const auto parsed = parse_host_port(authority);
  if (!parsed) return wrong("is not a host and port: " + parsed.error().message());
  if (parsed->host.empty()) return wrong("has no host");
  if (parsed->port && !parse_integer(*parsed->port, 1, 65535)) return wrong("has no port between 1 and 65535");
  return {};
}

bool OtlpOptions::uses_tls() const {
  if (has_scheme(endpoint, "https://")) return true;
  if (endpoint.empty() || has_scheme(endpoint, "http://") || has_scheme(endpoint, "unix")) return false;
  return !insecure;
}

std::string OtlpOptions::grpc_target() const {
  if (endpoint.empty()) return "dns:///localhost:4317";
  if (is_grpc_target(endpoint)) return endpoint;
  const std::string url = with_brackets(endpoint);
  const std::string_view authority = authority_of(url);
  const auto parsed = parse_host_port(authority);
  return fmt::format("dns:///{}{}", authority, parsed && !parsed->port ? ":4317" : "");
}

std::string OtlpOptions::http_url(OtlpSignal signal) const {
  std::string url = endpoint.empty() ? "http://localhost:4318" : with_brackets(endpoint);
  if (url.find("://") == std::string::npos) url.insert(0, uses_tls() ? "https://" : "http://");
  if (endpoint_is_complete) return url;
  if (url.back() != '/') url += '/';
  return url + (signal == OtlpSignal::Metrics ? "v1/metrics" : "v1/traces");
}

Result<OtlpOptions> otlp_options_from_env(const GetEnv& env, OtlpOptions base, OtlpSignal signal) {
  const Environment environment(env, signal);
  OtlpOptions options = std::move(base);
  const auto as_text = [](std::string_view text) -> Result<std::string> { return std::string(text); };
  const auto as_nanoseconds = [](std::string_view text) -> Result<uint64_t> {
    auto ms = parse_milliseconds(text);
    if (!ms) return ms.error();
    return *ms * 1'000'000;
  };

  if (auto r = environment.take("PROTOCOL", options.protocol, parse_otlp_protocol); !r) return r.error();
  if (auto endpoint = environment.find("ENDPOINT")) {
    if (auto r = check_otlp_endpoint(endpoint->value, options.protocol); !r) return r.error().with(endpoint->name);
    options.endpoint = endpoint->value;
    options.endpoint_is_complete = endpoint->own;
  }
  if (auto r = environment.take("INSECURE", options.insecure, parse_bool); !r) return r.error();
  if (auto r = environment.take("CERTIFICATE", options.tls.ca, as_text); !r) return r.error();
  if (auto r = environment.take("CLIENT_CERTIFICATE", options.tls.certificate, as_text); !r) return r.error();
  if (auto r = environment.take("CLIENT_KEY", options.tls.key, as_text); !r) return r.error();
  if (auto r = environment.take("HEADERS", options.headers, parse_otlp_headers); !r) return r.error();
  if (auto r = environment.take("COMPRESSION", options.compression, parse_otlp_compression); !r) return r.error();
  if (auto r = environment.take("TIMEOUT", options.timeout_ns, as_nanoseconds); !r) return r.error();
  if (signal == OtlpSignal::Metrics) {
    // These two exist in the form of the signal only.
    for (std::string_view name : {"TEMPORALITY_PREFERENCE", "DEFAULT_HISTOGRAM_AGGREGATION"}) {
      auto variable = environment.find(name);
      if (!variable || !variable->own) continue;
      if (name == "TEMPORALITY_PREFERENCE") {
        auto value = parse_otlp_temporality(variable->value);
        if (!value) return value.error().with(variable->name);
        options.temporality = *value;
      } else {
        auto value = parse_otlp_histograms(variable->value);
        if (!value) return value.error().with(variable->name);
        options.histograms = *value;
      }
    }
  }
  if (options.tls.certificate.empty() != options.tls.key.empty()) {
    return Error(options.tls.key.empty()
                     ? "a client certificate is set without its key; set OTEL_EXPORTER_OTLP_CLIENT_KEY too"
                     : "a client key is set without its certificate; set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too");
  }
  return options;
}

}  // namespace sonde
