// SPDX-License-Identifier: Apache-2.0
// One delivery of one request, and what its outcome means (OTLP specification, "Failures" and "Throttling").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/base/result.h"
#include "agent/export/http_transport.h"
#include "agent/export/otlp_options.h"

namespace sonde {

struct SendResult {
  enum class Verdict : uint8_t {
    Delivered,
    Retry,     // the same request may be sent again, later
    Rejected,  // never again: it is lost
    Refused,   // the same, but for what is in it: parts of it may be taken
    TooLarge,  // again, but in parts
  };
  Verdict verdict = Verdict::Delivered;
  std::string code;                        // UNAVAILABLE, http_503, tls, connect, …; empty if delivered
  std::string message;                     // a sentence; if delivered: the receiver's warning
  std::optional<uint64_t> retry_after_ns;  // what the receiver asked for
  uint64_t rejected = 0;                   // points or spans; partial success
  uint64_t sent_bytes = 0;
};

// `details` are the bytes of grpc-status-details-bin, a google.rpc.Status. `code` is a grpc::StatusCode, not OK.
SendResult judge_grpc(int code, const std::string& message, const std::string& details);
// `now_ns` (CLOCK_REALTIME) is for a Retry-After that is a date.
SendResult judge_http(const HttpResponse& response, uint64_t now_ns);
// Of a successful request: bytes of an ExportMetricsServiceResponse, or of an ExportTraceServiceResponse, whose fields have
// the same numbers and types.
SendResult judge_response(const std::string& body);
// Seconds or an HTTP date; nothing if it is neither.
std::optional<uint64_t> parse_retry_after(std::string_view text, uint64_t now_ns);

class OtlpSender {
 public:
  virtual ~OtlpSender() = default;
  // Blocks up to the timeout of the options. One thread at a time.
  virtual SendResult send(const std::shared_ptr<const std::string>& request) = 0;
  // From any thread: ends the running send() soon, and all later ones.
  virtual void cancel() = 0;
};

Result<std::unique_ptr<OtlpSender>> make_grpc_sender(const OtlpOptions& options, OtlpSignal signal);
Result<std::unique_ptr<OtlpSender>> make_http_sender(const OtlpOptions& options, OtlpSignal signal,
                                                     std::shared_ptr<HttpTransport> http);
// One of the two, by the protocol of the options; checks the endpoint. `http` is needed for HttpProtobuf only.
Result<std::unique_ptr<OtlpSender>> make_otlp_sender(const OtlpOptions& options, OtlpSignal signal,
                                                     std::shared_ptr<HttpTransport> http);
// "http://collector:4317 (grpc)", for the log and status.
std::string otlp_destination(const OtlpOptions& options, OtlpSignal signal);

inline constexpr std::string_view kOtlpUserAgent = "Sonde/" SONDE_VERSION " OTel-OTLP-Exporter-Cpp/" SONDE_VERSION;

}  // namespace sonde
