// SPDX-License-Identifier: Apache-2.0
// Everything an OTLP exporter can be told, as a plain struct. Defaults are those of the OpenTelemetry specification,
// but the protocol's: grpc. The configuration fills it from YAML, then lets the environment, then flags change it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/base/result.h"
#include "agent/export/http_transport.h"

namespace sonde {

enum class OtlpProtocol : uint8_t { Grpc, HttpProtobuf };
enum class OtlpCompression : uint8_t { None, Gzip };
enum class OtlpTemporality : uint8_t {
  Cumulative,
  Delta,      // counters and histograms are differences; UpDownCounters stay cumulative
  LowMemory,  // as Delta for synchronous counters and histograms. Sonde's counters are observed: cumulative;
              // histograms: delta
};
enum class OtlpHistograms : uint8_t { Exponential, Explicit };
enum class OtlpSignal : uint8_t { Metrics, Traces };

struct OtlpRetry {
  uint64_t initial_ns = 5'000'000'000;
  uint64_t max_ns = 30'000'000'000;
  // After this the batch goes back into the queue, where newer points replace its own; 0: never. Not for requests on
  // disk, which wait until there is no more room.
  uint64_t max_elapsed_ns = 300'000'000'000;
  double multiplier = 1.5;
  double jitter = 0.5;  // a wait of w is drawn from w * [1 - jitter, 1 + jitter]
};

struct OtlpQueue {
  uint64_t max_bytes = 16ULL << 20;  // of waiting points in memory; the newest batch is kept whatever its size
  // While the receiver is away a newer full cumulative batch replaces older ones; this many are kept besides.
  uint32_t max_batches = 2;
  std::string directory;  // empty: memory only. Otherwise survives a restart
  uint64_t max_disk_bytes = 256ULL << 20;
};

struct OtlpOptions {
  // http://host:port, https://host:port, host:port, or for grpc any gRPC target (dns:///…, unix:…).
  // Empty: http://localhost:4317 (grpc), http://localhost:4318 (http/protobuf).
  std::string endpoint;
  // HTTP: the endpoint is a signal's own and used as it is. false: v1/metrics or v1/traces is appended.
  bool endpoint_is_complete = false;
  OtlpProtocol protocol = OtlpProtocol::Grpc;
  bool insecure = false;  // only for an endpoint without http:// or https://: no TLS
  TlsFiles tls;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  OtlpCompression compression = OtlpCompression::None;
  uint64_t timeout_ns = 10'000'000'000;  // of one request
  OtlpTemporality temporality = OtlpTemporality::Cumulative;
  OtlpHistograms histograms = OtlpHistograms::Exponential;
  bool promote = false;                    // Resource::promoted also on each point
  uint64_t max_request_bytes = 3'670'016;  // 3.5 MiB before compression; larger batches are split
  std::string proxy;                       // http://[user:password@]host:port; none; empty: as the environment says
  uint64_t keepalive_ns = 0;               // 0: off. Servers refuse pings more often than every 5 minutes
  OtlpRetry retry;
  OtlpQueue queue;

  // What follows from the fields above.
  bool uses_tls() const;
  // host:port or gRPC target with dns:/// in front where a name is to be resolved.
  std::string grpc_target() const;
  // The URL to POST to.
  std::string http_url(OtlpSignal signal = OtlpSignal::Metrics) const;
};

// Like getenv: nothing if the variable is not set.
using GetEnv = std::function<std::optional<std::string>(std::string_view name)>;
GetEnv process_environment();

// OTEL_EXPORTER_OTLP_* over `base`; OTEL_EXPORTER_OTLP_METRICS_* (or TRACES) win over the general ones. An empty value
// counts as not set. The error is one sentence that names the variable and what to write instead.
Result<OtlpOptions> otlp_options_from_env(const GetEnv& env, OtlpOptions base = {},
                                          OtlpSignal signal = OtlpSignal::Metrics);

// The words of the environment and of the configuration file, each with a sentence as error.
Result<OtlpProtocol> parse_otlp_protocol(std::string_view text);        // grpc, http/protobuf
Result<OtlpCompression> parse_otlp_compression(std::string_view text);  // none, gzip
Result<OtlpTemporality> parse_otlp_temporality(std::string_view text);  // cumulative, delta, lowmemory
Result<OtlpHistograms> parse_otlp_histograms(std::string_view text);    // explicit_bucket_histogram, base2_…
// k1=v1,k2=v2, percent-encoded as in W3C baggage.
Result<std::vector<std::pair<std::string, std::string>>> parse_otlp_headers(std::string_view text);
// Is the endpoint something that can be reached with this protocol? Ports, schemes, spaces.
Result<void> check_otlp_endpoint(std::string_view endpoint, OtlpProtocol protocol);

}  // namespace sonde
