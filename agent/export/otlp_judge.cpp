// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/support/status_code_enum.h>
#include <spdlog/fmt/fmt.h>
#include <time.h>

#include <algorithm>
#include <charconv>

#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/export/otlp_sender.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"

namespace sonde {
namespace {

using Verdict = SendResult::Verdict;
// Whoever asks for more is asked again after this.
constexpr uint64_t kLongestRetryAfter = 3600 * kSecond;
constexpr size_t kLongestMessage = 512;

// What a receiver says goes into logs and status.
std::string readable(std::string_view text) { return one_line(text, kLongestMessage); }

bool says(const std::string& message, std::string_view words) { return message.find(words) != std::string::npos; }

std::string_view code_name(int code) {
  switch (code) {
    case grpc::CANCELLED: return "CANCELLED";
    case grpc::UNKNOWN: return "UNKNOWN";
    case grpc::INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case grpc::DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case grpc::NOT_FOUND: return "NOT_FOUND";
    case grpc::ALREADY_EXISTS: return "ALREADY_EXISTS";
    case grpc::PERMISSION_DENIED: return "PERMISSION_DENIED";
    case grpc::UNAUTHENTICATED: return "UNAUTHENTICATED";
    case grpc::RESOURCE_EXHAUSTED: return "RESOURCE_EXHAUSTED";
    case grpc::FAILED_PRECONDITION: return "FAILED_PRECONDITION";
    case grpc::ABORTED: return "ABORTED";
    case grpc::OUT_OF_RANGE: return "OUT_OF_RANGE";
    case grpc::UNIMPLEMENTED: return "UNIMPLEMENTED";
    case grpc::INTERNAL: return "INTERNAL";
    case grpc::UNAVAILABLE: return "UNAVAILABLE";
    case grpc::DATA_LOSS: return "DATA_LOSS";
    default: return "UNKNOWN";
  }
}

std::optional<uint64_t> retry_info(const std::string& details) {
  google::rpc::Status status;
  if (details.empty() || !status.ParseFromString(details)) return std::nullopt;
  for (const auto& detail : status.details()) {
    google::rpc::RetryInfo info;
    if (!detail.Is<google::rpc::RetryInfo>() || !detail.UnpackTo(&info)) continue;
    const auto& delay = info.retry_delay();
    if (delay.seconds() < 0 || delay.nanos() < 0) return 0;
    if (static_cast<uint64_t>(delay.seconds()) >= kLongestRetryAfter / kSecond) return kLongestRetryAfter;
    return static_cast<uint64_t>(delay.seconds()) * kSecond + static_cast<uint64_t>(delay.nanos());
  }
  return std::nullopt;
}

}  // namespace

SendResult judge_grpc(int code, const std::string& message, const std::string& details) {
  SendResult result;
  result.code = code_name(code);
  result.message = fmt::format("the receiver answered {}: {}", result.code, readable(message));
  result.verdict = Verdict::Rejected;
  result.retry_after_ns = retry_info(details);
  switch (code) {
    case grpc::UNAVAILABLE:
      // gRPC has one code for all that goes wrong before the request is out; its words tell more.
      if (says(message, "Ssl handshake") || says(message, "TLS handshake") || says(message, "CERTIFICATE_") ||
          says(message, "SSL_ERROR")) {
        result.code = "tls";
        result.message = fmt::format("no TLS connection to the receiver: {}", readable(message));
      } else if (says(message, "ailed to connect") || says(message, "connections to all backends failing")) {
        result.code = "connect";
        result.message = fmt::format("no connection to the receiver: {}", readable(message));
      }
      [[fallthrough]];
    case grpc::CANCELLED:
    case grpc::DEADLINE_EXCEEDED:
    case grpc::ABORTED:
    case grpc::OUT_OF_RANGE:
    case grpc::DATA_LOSS: result.verdict = Verdict::Retry; break;
    case grpc::RESOURCE_EXHAUSTED:
      // The words of all gRPC libraries. "CLIENT:" means the answer was too large, not the request.
      if (says(message, "larger than max") && message.rfind("CLIENT:", 0) != 0) {
        result.verdict = Verdict::TooLarge;
      } else if (result.retry_after_ns) {
        result.verdict = Verdict::Retry;
      }
      break;
    case grpc::INVALID_ARGUMENT:
    case grpc::INTERNAL:
    case grpc::UNKNOWN: result.verdict = Verdict::Refused; break;
    default: break;
  }
  return result;
}

std::optional<uint64_t> parse_retry_after(std::string_view text, uint64_t now_ns) {
  uint64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (end == text.data() + text.size() && end != text.data()) {
    if (error != std::errc() || seconds > kLongestRetryAfter / kSecond) return kLongestRetryAfter;
    return seconds * kSecond;
  }
  tm date{};
  const std::string copy(text);
  const char* rest = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (rest == nullptr || *rest != '\0') return std::nullopt;
  const time_t then = ::timegm(&date);
  const auto now = static_cast<time_t>(now_ns / kSecond);
  if (then <= now) return 0;
  return std::min(static_cast<uint64_t>(then - now) * kSecond, kLongestRetryAfter);
}

SendResult judge_http(const HttpResponse& response, uint64_t now_ns) {
  SendResult result;
  result.verdict = Verdict::Retry;
  switch (response.failure) {
    case HttpFailure::Connect: result.code = "connect"; break;
    case HttpFailure::Timeout: result.code = "timeout"; break;
    case HttpFailure::Tls: result.code = "tls"; break;
    case HttpFailure::Other: result.code = "http_broken"; break;
    case HttpFailure::None: break;
  }
  if (response.failure != HttpFailure::None) {
    result.message = readable(response.error);
    return result;
  }
  if (response.status >= 200 && response.status < 300) return judge_response(response.body);

  result.code = fmt::format("http_{}", response.status);
  google::rpc::Status status;
  std::string text = response.body;
  if (status.ParseFromString(response.body) && !status.message().empty()) text = status.message();
  result.message = fmt::format("the receiver answered HTTP {}: {}", response.status, readable(text));
  if (response.status == 413) {
    result.verdict = Verdict::TooLarge;
  } else if (response.status == 400 || response.status == 500) {
    result.verdict = Verdict::Refused;
  } else if (response.status != 429 && response.status != 502 && response.status != 503 && response.status != 504) {
    result.verdict = Verdict::Rejected;
  }
  for (const auto& [name, value] : response.headers) {
    if (name == "retry-after") result.retry_after_ns = parse_retry_after(value, now_ns);
  }
  return result;
}

SendResult judge_response(const std::string& body) {
  SendResult result;
  opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse response;
  // A success with a body that is none (some proxies answer text) is a success.
  if (!response.ParseFromString(body) || !response.has_partial_success()) return result;
  const auto& partial = response.partial_success();
  result.rejected = static_cast<uint64_t>(std::max<int64_t>(0, partial.rejected_data_points()));
  result.message = readable(partial.error_message());
  return result;
}

}  // namespace sonde
