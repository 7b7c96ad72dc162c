// SPDX-License-Identifier: Apache-2.0
// Spans against real gRPC servers on loopback, and what is handed to the HTTP port. Times are scaled down.
#include "agent/export/otlp_span_exporter.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>

#include "tests/unit/export/otlp_trace_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT
using Clock = std::chrono::steady_clock;

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSecondNs = 1'000'000'000;

OtlpOptions quick(std::string endpoint) {
  OtlpOptions options;
  options.endpoint = std::move(endpoint);
  options.retry = {.initial_ns = 20 * kMs, .max_ns = 100 * kMs, .max_elapsed_ns = 20 * kSecondNs};
  return options;
}

std::unique_ptr<SpanExporter> make(OtlpOptions options, const SpanQueueLimits& limits = {},
                                   std::shared_ptr<HttpTransport> http = nullptr) {
  auto made = make_otlp_span_exporter(std::move(options), limits, std::move(http));
  if (!made) throw std::runtime_error(made.error().message());
  return std::move(*made);
}

uint64_t dropped(const ExporterStats& stats) {
  uint64_t sum = 0;
  for (const auto& [reason, spans] : stats.spans_dropped) sum += spans;
  return sum;
}

std::vector<int64_t> numbers(int64_t from, int64_t count) {
  std::vector<int64_t> list(static_cast<size_t>(count));
  std::iota(list.begin(), list.end(), from);
  return list;
}

TEST(OtlpSpanExporter, DeliversWithHeadersAndUserAgent) {
  TraceServer server;
  OtlpOptions options = quick(server.url());
  options.headers = {{"x-tenant", "blue"}};
  options.compression = OtlpCompression::Gzip;
  auto exporter = make(options);
  EXPECT_EQ(exporter->name(), "otlp_traces");
  EXPECT_EQ(exporter->destination(), server.url() + " (grpc)");
  exporter->consume(many_spans(3));
  exporter->flush(10 * kSecondNs);
  const auto received = server.received();
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(numbers_of(received[0].request), numbers(0, 3));
  EXPECT_EQ(received[0].metadata.find("x-tenant")->second, "blue");
  EXPECT_EQ(received[0].metadata.find("user-agent")->second.rfind("Sonde/" SONDE_VERSION, 0), 0U);
  const auto stats = exporter->stats();
  EXPECT_EQ(stats.spans_sent, 3U);
  EXPECT_EQ(stats.queued_spans, 0U);
  EXPECT_EQ(stats.queued_bytes, 0U);
  EXPECT_GT(stats.bytes_sent, 100U);
  EXPECT_TRUE(stats.failures.empty());
}

TEST(OtlpSpanExporter, RetriesRetryableCodesAndNoOthers) {
  for (int code = 1; code <= 16; code++) {
    TraceServer server([&](size_t n, const auto&, auto*) {
      return n == 0 ? grpc::Status(static_cast<grpc::StatusCode>(code), "as asked") : grpc::Status::OK;
    });
    auto exporter = make(quick(server.url()));
    exporter->consume(many_spans(1));
    exporter->flush(10 * kSecondNs);
    const bool retried = code == 1 || code == 4 || code == 10 || code == 11 || code == 14 || code == 15;
    EXPECT_EQ(server.received().size(), retried ? 2U : 1U) << code;
    const auto stats = exporter->stats();
    EXPECT_EQ(stats.spans_sent, retried ? 1U : 0U) << code;
    EXPECT_EQ(dropped(stats), retried ? 0U : 1U) << code;
    EXPECT_EQ(stats.spans_dropped.contains("refused"), !retried) << code;
    EXPECT_EQ(stats.retries, retried ? 1U : 0U) << code;
  }
}

TEST(OtlpSpanExporter, PartialSuccessIsCountedAndNotRetried) {
  TraceServer server([](size_t, const auto&, auto* response) {
    response->mutable_partial_success()->set_rejected_spans(4);
    response->mutable_partial_success()->set_error_message("too old");
    return grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  exporter->consume(many_spans(10));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.received().size(), 1U);
  const auto stats = exporter->stats();
  EXPECT_EQ(stats.spans_sent, 6U);
  EXPECT_EQ(stats.spans_rejected, 4U);
  EXPECT_EQ(stats.failures.at("partial_success"), 1U);
  EXPECT_EQ(stats.last_error, "the receiver rejected 4 of 10 spans: too old");
}

TEST(OtlpSpanExporter, OneBadSpanSpoilsNoOthers) {
  TraceServer server([](size_t, const pb::ExportTraceServiceRequest& request, auto*) {
    const auto sent = numbers_of(request);
    return std::ranges::find(sent, 41) != sent.end() ? grpc::Status(grpc::INVALID_ARGUMENT, "bad") : grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  exporter->consume(many_spans(100));
  exporter->flush(20 * kSecondNs);
  auto wanted = numbers(0, 100);
  wanted.erase(wanted.begin() + 41);
  EXPECT_EQ(server.accepted(), wanted);
  const auto stats = exporter->stats();
  EXPECT_EQ(stats.spans_sent, 99U);
  EXPECT_EQ(stats.spans_dropped.at("refused"), 1U);
  EXPECT_LE(stats.halved, 7U);  // log2(100), rounded up
}

TEST(OtlpSpanExporter, RequestsStayBelowBothLimits) {
  TraceServer server;
  OtlpOptions options = quick(server.url());
  options.max_request_bytes = 8192;
  auto exporter = make(options, {.max_request_spans = 200});
  exporter->consume(many_spans(500));
  exporter->flush(20 * kSecondNs);
  EXPECT_EQ(server.accepted(), numbers(0, 500));
  for (const auto& one : server.received()) {
    EXPECT_LE(one.request.ByteSizeLong(), 8192U);
    EXPECT_LE(numbers_of(one.request).size(), 200U);
  }
}

// gRPC's own limit of 4 MiB on the server, which only its refusal tells.
TEST(OtlpSpanExporter, SplitsWhatIsLargerThanTheReceiverTakes) {
  TraceServer server;
  OtlpOptions options = quick(server.url());
  options.max_request_bytes = 64 << 20;
  options.timeout_ns = 60 * kSecondNs;
  auto exporter = make(options, {.max_spans = 30'000, .max_bytes = 64 << 20, .max_request_spans = 30'000});
  exporter->consume(many_spans(30'000));
  exporter->flush(60 * kSecondNs);
  EXPECT_EQ(server.accepted(), numbers(0, 30'000));
  EXPECT_GE(exporter->stats().failures.at("RESOURCE_EXHAUSTED"), 1U);
  EXPECT_EQ(dropped(exporter->stats()), 0U);
}

TEST(OtlpSpanExporter, NothingIsLostWhileTheReceiverIsAwayForShort) {
  std::atomic<bool> down{true};
  TraceServer server([&](size_t, const auto&, auto*) {
    return down ? grpc::Status(grpc::UNAVAILABLE, "later") : grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  const ResourcePtr whose = resource(1);
  for (uint32_t i = 0; i < 10; ++i) exporter->consume(many_spans(10, i * 10, whose));
  ASSERT_TRUE(eventually([&] { return exporter->stats().retries >= 3; }));
  EXPECT_EQ(exporter->stats().queued_spans, 100U);
  down = false;
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted(), numbers(0, 100));
  EXPECT_EQ(dropped(exporter->stats()), 0U);
}

TEST(OtlpSpanExporter, WhatWasRetriedForTooLongIsDroppedAndCounted) {
  TraceServer server([](size_t, const auto&, auto*) { return grpc::Status(grpc::UNAVAILABLE, "never"); });
  OtlpOptions options = quick(server.url());
  options.retry.max_elapsed_ns = 60 * kMs;
  auto exporter = make(options);
  exporter->consume(many_spans(7));
  ASSERT_TRUE(eventually([&] { return exporter->stats().spans_dropped.contains("retried_too_long"); }));
  const auto stats = exporter->stats();
  EXPECT_EQ(stats.spans_dropped.at("retried_too_long"), 7U);
  EXPECT_EQ(stats.queued_spans, 0U);
  EXPECT_GE(stats.retries, 2U);
}

// 200,000 spans a second for three seconds while nobody takes any: consume() returns at once, memory stays, each span is either
// queued or counted as dropped, and the newest ones are delivered afterwards.
TEST(OtlpSpanExporter, AFloodBlocksNothingGrowsNothingAndIsCountedExactly) {
  constexpr uint32_t kBatch = 1'000, kBatches = 600;
  std::atomic<bool> down{true};
  TraceServer server([&](size_t, const auto&, auto*) {
    return down ? grpc::Status(grpc::UNAVAILABLE, "later") : grpc::Status::OK;
  });
  const SpanQueueLimits limits;
  OtlpOptions options = quick(server.url());
  options.retry.max_elapsed_ns = 0;
  auto exporter = make(options, limits);
  const auto flood = many_spans(kBatch);
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  const auto begin = Clock::now();
  std::chrono::nanoseconds inside{0};
  for (uint32_t i = 0; i < kBatches; ++i) {
    std::this_thread::sleep_until(begin + std::chrono::milliseconds(5) * i);
    auto own = std::make_shared<const SpanBatch>(*flood);
    const auto start = Clock::now();
    exporter->consume(std::move(own));
    inside += Clock::now() - start;
    const auto stats = exporter->stats();
    EXPECT_LE(stats.queued_spans, limits.max_spans + limits.max_request_spans);
    EXPECT_LE(stats.queued_bytes, 2 * limits.max_bytes);
  }
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
#ifndef SONDE_SANITIZED  // sanitizers keep what was freed
  EXPECT_LE(after.ru_maxrss - before.ru_maxrss, 64 << 10) << "KiB";
#endif
  EXPECT_LT(inside, std::chrono::seconds(3));
  auto stats = exporter->stats();
  EXPECT_EQ(stats.queued_spans + stats.spans_dropped.at("queue_full"), kBatch * kBatches);
  down = false;
  exporter->flush(20 * kSecondNs);
  stats = exporter->stats();
  EXPECT_EQ(stats.queued_spans, 0U);
  EXPECT_EQ(stats.spans_sent + stats.spans_dropped.at("queue_full"), kBatch * kBatches);
  EXPECT_GE(stats.spans_sent, limits.max_spans);
  EXPECT_EQ(server.accepted().size(), stats.spans_sent);
}

class Port final : public HttpTransport {
 public:
  explicit Port(std::function<HttpResponse(size_t n)> answer) : answer_(std::move(answer)) {}
  HttpResponse post(const HttpRequest& request) override {
    requests.push_back(request);
    return answer_(requests.size() - 1);
  }
  std::vector<HttpRequest> requests;

 private:
  std::function<HttpResponse(size_t n)> answer_;
};

TEST(OtlpSpanExporter, PostsToThePathOfTraces) {
  auto port = std::make_shared<Port>([](size_t n) {
    pb::ExportTraceServiceResponse response;
    response.mutable_partial_success()->set_rejected_spans(2);
    response.mutable_partial_success()->set_error_message("no");
    return n == 0 ? HttpResponse{.status = 503} : HttpResponse{.status = 200, .body = response.SerializeAsString()};
  });
  OtlpOptions options = quick("http://collector:4318");
  options.protocol = OtlpProtocol::HttpProtobuf;
  auto exporter = make(options, {}, port);
  EXPECT_EQ(exporter->destination(), "http://collector:4318/v1/traces (http/protobuf)");
  exporter->consume(many_spans(5));
  exporter->flush(10 * kSecondNs);
  ASSERT_EQ(port->requests.size(), 2U);
  EXPECT_EQ(port->requests[1].url, "http://collector:4318/v1/traces");
  pb::ExportTraceServiceRequest request;
  ASSERT_TRUE(request.ParseFromString(port->requests[1].body));
  EXPECT_EQ(numbers_of(request), numbers(0, 5));
  EXPECT_EQ(exporter->stats().spans_sent, 3U);
  EXPECT_EQ(exporter->stats().spans_rejected, 2U);
}

TEST(OtlpSpanExporter, WhatCannotWorkIsAnErrorAtTheStart) {
  OtlpOptions options;
  options.endpoint = "http://collector:port";
  EXPECT_FALSE(make_otlp_span_exporter(options));
  options.endpoint = "http://collector:4318";
  options.protocol = OtlpProtocol::HttpProtobuf;
  EXPECT_FALSE(make_otlp_span_exporter(options));
}

TEST(SpanQueue, DropsTheOldestAndKeepsOfALargeBatchTheNewest) {
  const SpanQueueLimits limits{.max_spans = 10, .max_bytes = 1 << 20};
  SpanQueue queue(limits);
  const auto push = [&](std::shared_ptr<const SpanBatch> batch) {
    uint64_t bytes = 0, left_out = 0;
    batch = SpanQueue::fitting(limits, std::move(batch), bytes, left_out);
    return left_out + queue.push(std::move(batch), bytes);
  };
  EXPECT_EQ(push(many_spans(6)), 0U);
  EXPECT_EQ(push(many_spans(6, 6)), 2U);
  EXPECT_EQ(queue.spans(), 10U);
  const auto taken = queue.take(3);
  ASSERT_EQ(taken.spans.size(), 3U);
  EXPECT_EQ(taken.spans[0]->tid, 3U);
  EXPECT_EQ(push(many_spans(25, 100)), 15U + 7U);
  EXPECT_EQ(queue.spans(), 10U);
  EXPECT_EQ(queue.take(100).spans.front()->tid, 116U);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(SpanQueue, IsBoundedInBytes) {
  const auto batch = many_spans(10);
  const SpanQueueLimits limits{.max_spans = 1'000'000, .max_bytes = span_memory(*batch) * 3};
  SpanQueue queue(limits);
  uint64_t gone = 0;
  for (uint32_t i = 0; i < 10; ++i) {
    uint64_t bytes = 0, left_out = 0;
    auto next = SpanQueue::fitting(limits, many_spans(10, i * 10), bytes, left_out);
    gone += left_out + queue.push(std::move(next), bytes);
    EXPECT_LE(queue.bytes(), span_memory(*batch) * 3);
  }
  EXPECT_EQ(gone, 70U);
  EXPECT_EQ(queue.take(1).spans.front()->tid, 71U);
}

}  // namespace
}  // namespace sonde
