// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/support/status_code_enum.h>
#include <gtest/gtest.h>

#include "agent/export/otlp_sender.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/unit/export/otlp_support.h"

namespace sonde {
namespace {

using Verdict = SendResult::Verdict;

std::string retry_info(int64_t seconds, int32_t nanos = 0) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(seconds);
  info.mutable_retry_delay()->set_nanos(nanos);
  google::rpc::Status status;
  status.add_details()->PackFrom(google::rpc::Status());  // another detail before it
  status.add_details()->PackFrom(info);
  return status.SerializeAsString();
}

TEST(JudgeGrpc, RetriesExactlyTheRetryableCodes) {
  for (int code = 1; code <= 16; code++) {
    const bool retryable = code == grpc::CANCELLED || code == grpc::DEADLINE_EXCEEDED || code == grpc::ABORTED ||
                           code == grpc::OUT_OF_RANGE || code == grpc::UNAVAILABLE || code == grpc::DATA_LOSS;
    EXPECT_EQ(judge_grpc(code, "x", "").verdict, retryable                              ? Verdict::Retry
                                                 : code == 2 || code == 3 || code == 13 ? Verdict::Refused
                                                                                        : Verdict::Rejected)
        << code;
  }
}

TEST(JudgeGrpc, ResourceExhaustedNeedsRetryInfo) {
  EXPECT_EQ(judge_grpc(grpc::RESOURCE_EXHAUSTED, "quota", "").verdict, Verdict::Rejected);
  auto throttled = judge_grpc(grpc::RESOURCE_EXHAUSTED, "quota", retry_info(2, 500'000'000));
  EXPECT_EQ(throttled.verdict, Verdict::Retry);
  EXPECT_EQ(throttled.retry_after_ns, 2'500'000'000U);
  EXPECT_EQ(judge_grpc(grpc::RESOURCE_EXHAUSTED, "quota", "garbage\xff").verdict, Verdict::Rejected);
  EXPECT_EQ(judge_grpc(grpc::UNAVAILABLE, "later", retry_info(7)).retry_after_ns, 7'000'000'000U);
  EXPECT_EQ(judge_grpc(grpc::UNAVAILABLE, "later", retry_info(INT64_MAX)).retry_after_ns, 3'600'000'000'000U);
  EXPECT_EQ(judge_grpc(grpc::UNAVAILABLE, "later", retry_info(-5)).retry_after_ns, 0U);
}

TEST(JudgeGrpc, TooLargeIsToldByItsWords) {
  for (const char* words : {"grpc: received message after decompression larger than max (4194321 vs. 4194304)",
                            "Received message larger than max (5000000 vs. 4194304)",
                            "SERVER: Received message larger than max (5000000 vs. 4194304)"}) {
    EXPECT_EQ(judge_grpc(grpc::RESOURCE_EXHAUSTED, words, "").verdict, Verdict::TooLarge);
  }
  EXPECT_EQ(judge_grpc(grpc::RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)", "").verdict,
            Verdict::Rejected);
}

TEST(JudgeGrpc, MessagesOfReceiversAreMadeHarmless) {
  const auto result = judge_grpc(grpc::INTERNAL, "a\nb\xff" + std::string(5'000, 'x'), "");
  EXPECT_LT(result.message.size(), 600U);
  EXPECT_NE(result.message.find("INTERNAL: a b?x"), std::string::npos) << result.message;
}

HttpResponse http(int status, HttpHeaders headers = {}, std::string body = "") {
  return {.status = status, .headers = std::move(headers), .body = std::move(body)};
}

TEST(JudgeHttp, RetriesExactlyTheRetryableStatuses) {
  for (int status = 300; status < 600; status++) {
    const auto verdict = judge_http(http(status), 0).verdict;
    if (status == 429 || status == 502 || status == 503 || status == 504) {
      EXPECT_EQ(verdict, Verdict::Retry) << status;
    } else {
      EXPECT_EQ(verdict, status == 413                    ? Verdict::TooLarge
                         : status == 400 || status == 500 ? Verdict::Refused
                                                          : Verdict::Rejected)
          << status;
    }
  }
  EXPECT_EQ(judge_http(http(200), 0).verdict, Verdict::Delivered);
  EXPECT_EQ(judge_http(http(503), 0).code, "http_503");
}

TEST(JudgeHttp, BrokenConnectionsAreRetried) {
  for (auto [failure, code] : {std::pair(HttpFailure::Connect, "connect"), std::pair(HttpFailure::Timeout, "timeout"),
                               std::pair(HttpFailure::Tls, "tls"), std::pair(HttpFailure::Other, "http_broken")}) {
    auto result = judge_http({.failure = failure, .error = "why"}, 0);
    EXPECT_EQ(result.verdict, Verdict::Retry);
    EXPECT_EQ(result.code, code);
    EXPECT_EQ(result.message, "why");
  }
}

TEST(JudgeHttp, ReadsTheErrorMessageAndPartialSuccess) {
  google::rpc::Status status;
  status.set_message("no such tenant");
  EXPECT_EQ(judge_http(http(404, {}, status.SerializeAsString()), 0).message,
            "the receiver answered HTTP 404: no such tenant");
  test::pb::ExportMetricsServiceResponse response;
  response.mutable_partial_success()->set_rejected_data_points(3);
  response.mutable_partial_success()->set_error_message("too old");
  auto partial = judge_http(http(200, {}, response.SerializeAsString()), 0);
  EXPECT_EQ(partial.verdict, Verdict::Delivered);
  EXPECT_EQ(partial.rejected, 3U);
  EXPECT_EQ(partial.message, "too old");
  EXPECT_EQ(judge_http(http(200, {}, "<html>ok</html>"), 0).verdict, Verdict::Delivered);
}

TEST(RetryAfter, SecondsOrDate) {
  constexpr uint64_t kNow = 784'111'777ULL * 1'000'000'000;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(parse_retry_after("0", kNow), 0U);
  EXPECT_EQ(parse_retry_after("120", kNow), 120'000'000'000U);
  EXPECT_EQ(parse_retry_after("99999999999999999999999", kNow), 3'600'000'000'000U);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", kNow), 10'000'000'000U);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", kNow), 0U);
  for (const char* bad : {"", "-1", "1.5", "soon", "Sun, 06 Nov 1994", "12 "}) {
    EXPECT_FALSE(parse_retry_after(bad, kNow)) << bad;
  }
  EXPECT_EQ(judge_http(http(429, {{"retry-after", "9"}}), kNow).retry_after_ns, 9'000'000'000U);
}

}  // namespace
}  // namespace sonde
