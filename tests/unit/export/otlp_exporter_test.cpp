// SPDX-License-Identifier: Apache-2.0
// Against real gRPC servers on loopback. Times are scaled down: waits of milliseconds where the defaults have seconds.
#include "agent/export/otlp_exporter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "tests/unit/export/otlp_server.h"

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

std::unique_ptr<Exporter> make(OtlpOptions options, std::shared_ptr<HttpTransport> http = nullptr) {
  auto made = make_otlp_exporter(std::move(options), std::move(http));
  if (!made) throw std::runtime_error(made.error().message());
  return std::move(*made);
}

BatchPtr one(int64_t value, uint64_t time_ns = kStart + kPeriod) { return many_sums(1, 1, value, time_ns); }
std::string one_text(int64_t value) { return "pod-0 sonde.test.operations number=0 " + std::to_string(value); }

TEST(OtlpExporterTest, DeliversWithHeadersUserAgentAndGzip) {
  OtlpServer server;
  auto options = quick(server.url());
  options.headers = {{"x-tenant", "blue"}};
  options.compression = OtlpCompression::Gzip;
  auto exporter = make(options);
  EXPECT_EQ(exporter->destination(), server.url() + " (grpc)");
  exporter->push(many_sums(2, 3));
  exporter->flush(10 * kSecondNs);
  auto received = server.received();
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(number_points(received[0].request).size(), 6U);
  EXPECT_EQ(received[0].metadata.find("x-tenant")->second, "blue");
  EXPECT_EQ(received[0].metadata.find("user-agent")->second.rfind("Sonde/" SONDE_VERSION " OTel-OTLP-Exporter-Cpp/", 0),
            0U);
  auto stats = exporter->stats();
  EXPECT_EQ(stats.batches, 1U);
  EXPECT_EQ(stats.points_sent, 6U);
  EXPECT_EQ(stats.queued_batches, 0U);
  EXPECT_GT(stats.bytes_sent, 100U);
  EXPECT_TRUE(stats.failures.empty());
}

TEST(OtlpExporterTest, RetriesRetryableCodesAndNoOthers) {
  for (int code = 1; code <= 16; code++) {
    OtlpServer server([&](size_t n, const auto&, auto*) {
      return n == 0 ? grpc::Status(static_cast<grpc::StatusCode>(code), "as asked") : grpc::Status::OK;
    });
    auto exporter = make(quick(server.url()));
    exporter->push(one(7));
    exporter->flush(10 * kSecondNs);
    const bool retried = code == 1 || code == 4 || code == 10 || code == 11 || code == 14 || code == 15;
    EXPECT_EQ(server.received().size(), retried ? 2U : 1U) << code;
    auto stats = exporter->stats();
    EXPECT_EQ(stats.points_sent, retried ? 1U : 0U) << code;
    EXPECT_EQ(stats.points_dropped, retried ? 0U : 1U) << code;
    EXPECT_EQ(stats.retries, retried ? 1U : 0U) << code;
    ASSERT_EQ(stats.failures.size(), 1U) << code;
    EXPECT_EQ(stats.failures.begin()->second, 1U);
    EXPECT_EQ(stats.last_error.empty(), retried) << stats.last_error;
  }
}

// Refuses, as Prometheus does, a request in which one of the bad pods is.
OtlpServer::Answer refusing(std::set<std::string> bad) {
  return [bad = std::move(bad)](size_t, const pb::ExportMetricsServiceRequest& request, auto*) {
    for (const std::string& text : number_points(request)) {
      if (bad.contains(text.substr(0, text.find(' ')))) return grpc::Status(grpc::INVALID_ARGUMENT, "out of bounds");
    }
    return grpc::Status::OK;
  };
}

TEST(OtlpExporterTest, OneBadResourceSpoilsNoOthers) {
  constexpr int kPods = 100;
  for (const char* bad : {"pod-0", "pod-41", "pod-99"}) {
    OtlpServer server(refusing({bad}));
    auto exporter = make(quick(server.url()));
    exporter->push(many_sums(kPods, 3));
    exporter->flush(20 * kSecondNs);
    EXPECT_EQ(server.accepted().size(), 3U * (kPods - 1)) << bad;
    const auto stats = exporter->stats();
    EXPECT_EQ(stats.points_sent, 3U * (kPods - 1)) << bad;
    EXPECT_EQ(stats.points_dropped, 3U) << bad;
    EXPECT_LE(stats.halved, 7U) << bad;  // log2(100), rounded up
    EXPECT_LE(server.received().size(), 1U + 2 * 7) << bad;
    EXPECT_EQ(stats.failures.at("INVALID_ARGUMENT"), stats.halved + 1) << bad;
  }
}

TEST(OtlpExporterTest, HalvingIsBoundedWhereAllIsRefused) {
  OtlpServer server([](size_t, const auto&, auto*) { return grpc::Status(grpc::INTERNAL, "no"); });
  auto exporter = make(quick(server.url()));
  exporter->push(many_sums(64, 1));
  exporter->flush(20 * kSecondNs);
  EXPECT_EQ(exporter->stats().points_dropped, 64U);
  EXPECT_LE(server.received().size(), 1U + 2 * 6);
  exporter->push(many_sums(64, 1, 2, kStart + 2 * kPeriod));  // the next interval may try as often
  exporter->flush(20 * kSecondNs);
  EXPECT_EQ(exporter->stats().halved, 2 * 6U);
}

// One half has arrived, the other one waits for the next batch: no difference is told twice.
TEST(OtlpExporterTest, TheHalfThatArrivedIsDone) {
  std::atomic<bool> down{true};
  OtlpServer server([&](size_t, const auto& request, auto*) {
    std::set<std::string> pods;
    for (const std::string& text : number_points(request)) pods.insert(text.substr(0, text.find(' ')));
    if (!down) return grpc::Status::OK;
    if (pods.size() > 1) return grpc::Status(grpc::INVALID_ARGUMENT, "one of them is bad");
    return pods.contains("pod-1") ? grpc::Status(grpc::UNAVAILABLE, "not now") : grpc::Status::OK;
  });
  OtlpOptions options = quick(server.url());
  options.temporality = OtlpTemporality::Delta;
  options.retry.max_elapsed_ns = 50 * kMs;
  auto exporter = make(options);
  exporter->push(many_sums(2, 1, 5));
  const auto until = Clock::now() + std::chrono::seconds(20);
  while (exporter->stats().retries < 8 && Clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(server.accepted(), std::vector<std::string>{one_text(5)});
  exporter->push(many_sums(2, 1, 9, kStart + 2 * kPeriod));
  down = false;
  exporter->flush(20 * kSecondNs);
  std::map<std::string, int> told;
  for (const std::string& text : server.accepted()) {
    told[text.substr(0, text.find(' '))] += std::stoi(text.substr(text.rfind(' ')));
  }
  EXPECT_EQ(told, (std::map<std::string, int>{{"pod-0", 9}, {"pod-1", 9}}));
}

TEST(OtlpExporterTest, WaitsAsLongAsRetryInfoSays) {
  for (auto code : {grpc::RESOURCE_EXHAUSTED, grpc::UNAVAILABLE}) {
    OtlpServer server([&](size_t n, const auto&, auto*) {
      return n == 0 ? with_retry_info(code, "slow down", 300 * kMs) : grpc::Status::OK;
    });
    auto exporter = make(quick(server.url()));
    exporter->push(one(1));
    exporter->flush(10 * kSecondNs);  // even then
    ASSERT_EQ(server.received().size(), 2U);
    auto received = server.received();
    EXPECT_GE(received[1].at - received[0].at, std::chrono::milliseconds(299));
    EXPECT_EQ(server.accepted().size(), 1U);
  }
}

TEST(OtlpExporterTest, PartialSuccessIsCountedAndNotRetried) {
  OtlpServer server([](size_t, const auto&, auto* response) {
    response->mutable_partial_success()->set_rejected_data_points(4);
    response->mutable_partial_success()->set_error_message("too old");
    return grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  exporter->push(many_sums(1, 10));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.received().size(), 1U);
  auto stats = exporter->stats();
  EXPECT_EQ(stats.points_sent, 6U);
  EXPECT_EQ(stats.points_rejected, 4U);
  EXPECT_EQ(stats.failures.at("partial_success"), 1U);
  EXPECT_EQ(stats.last_error, "the receiver rejected 4 of 10 points: too old");
}

// gRPC's own limit of 4 MiB on the server, and requests made larger than it.
TEST(OtlpExporterTest, SplitsWhatIsLargerThanTheReceiverTakes) {
  OtlpServer server;
  auto options = quick(server.url());
  options.max_request_bytes = 64 << 20;
  options.timeout_ns = 60 * kSecondNs;
  auto exporter = make(options);
  exporter->push(many_sums(80, 1'500));
  exporter->flush(60 * kSecondNs);
  auto accepted = server.accepted();
  EXPECT_EQ(accepted.size(), 120'000U);
  EXPECT_EQ(std::set<std::string>(accepted.begin(), accepted.end()).size(), 120'000U);
  auto stats = exporter->stats();
  EXPECT_EQ(stats.points_sent, 120'000U);
  EXPECT_EQ(stats.points_dropped, 0U);
  const uint64_t refusals = stats.failures.at("RESOURCE_EXHAUSTED");
  EXPECT_GE(refusals, 1U);
  for (const auto& received : server.received()) EXPECT_LE(received.request.ByteSizeLong(), 4U << 20);
  // The next batch begins with what was learned.
  exporter->push(many_sums(80, 1'500, 2, kStart + 2 * kPeriod));
  exporter->flush(60 * kSecondNs);
  EXPECT_EQ(exporter->stats().failures.at("RESOURCE_EXHAUSTED"), refusals);
}

TEST(OtlpExporterTest, TheDefaultLimitPassesA4MiBReceiver) {
  OtlpServer server;
  auto exporter = make(quick(server.url()));
  exporter->push(many_sums(80, 1'500));
  exporter->flush(60 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 120'000U);
  EXPECT_TRUE(exporter->stats().failures.empty());
}

TEST(OtlpExporterTest, APointThatIsTooLargeAloneIsDroppedAndCounted) {
  OtlpServer server([](size_t, const pb::ExportMetricsServiceRequest& request, auto*) {
    for (auto& point : number_points(request)) {
      if (point.find("number=2 ") != std::string::npos) {
        return grpc::Status(grpc::RESOURCE_EXHAUSTED, "grpc: received message larger than max (9 vs. 8)");
      }
    }
    return grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  exporter->push(many_sums(1, 8));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 7U);
  EXPECT_EQ(exporter->stats().points_dropped, 1U);
}

TEST(OtlpExporterTest, ServerAwayMeansFlatMemoryAndRightTotalsAfterwards) {
  auto server = std::make_unique<OtlpServer>();
  const int port = server->port();
  auto options = quick(server->url());
  options.retry.max_elapsed_ns = 100 * kMs;
  auto exporter = make(options);
  exporter->push(many_sums(5, 40, 1));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server->accepted().size(), 200U);
  server.reset();

  // While it is away, a container ends at every collection: its last value and its mark.
  uint64_t time = kStart + kPeriod;
  uint64_t largest = 0;
  for (int i = 0; i < 60; i++) {
    time += kPeriod;
    BatchBuilder builder(time);
    for (uint64_t r = 0; r < 5; r++) {
      builder.on(resource(r + 1, "pod-" + std::to_string(r)));
      for (int64_t n = 0; n < 40; n++) builder.sum(kOperations, attributes({{"number", n}}), 100 + i);
    }
    builder.on(resource(1'000 + static_cast<uint64_t>(i), "short-" + std::to_string(i)))
        .sum(kOperations, attributes(), 7'000 + i)
        .end(kOperations, attributes());
    exporter->push(builder.build());
    largest = std::max(largest, exporter->stats().queued_bytes);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  // At most the batch on its way with its request, and two waiting, with the ended ones.
  EXPECT_LT(largest, 5 * 200 * (sizeof(Point) + 64));
  EXPECT_LE(exporter->stats().queued_batches, 3U);
  EXPECT_TRUE(eventually([&] { return exporter->stats().failures.contains("connect"); }));
  EXPECT_NE(exporter->stats().last_error, "");

  OtlpServer again({}, nullptr, port);
  exporter->flush(10 * kSecondNs);
  std::map<std::string, std::string> last;
  for (auto& point : again.accepted()) {
    const size_t space = point.rfind(' ');
    if (point.substr(space + 1) != "end") last[point.substr(0, space)] = point.substr(space + 1);
  }
  for (int r = 0; r < 5; r++) {
    for (int n = 0; n < 40; n++) {
      EXPECT_EQ(last["pod-" + std::to_string(r) + " sonde.test.operations number=" + std::to_string(n)], "159");
    }
  }
  for (int i = 0; i < 60; i++) {
    EXPECT_EQ(last["short-" + std::to_string(i) + " sonde.test.operations"], std::to_string(7'000 + i));
  }
  auto accepted = again.accepted();
  EXPECT_EQ(std::count_if(accepted.begin(), accepted.end(), [](auto& p) { return p.ends_with(" end"); }), 60);
  auto stats = exporter->stats();
  EXPECT_EQ(stats.points_dropped, 0U);
  EXPECT_GT(stats.points_superseded, 0U);
  EXPECT_EQ(stats.last_error, "");
  // Every point that went in is accounted for.
  EXPECT_EQ(stats.points_sent + stats.points_superseded, 200U + 60U * 202U);
}

TEST(OtlpExporterTest, EndedStreamsBeyondTheLimitAreDroppedOldestFirstAndCounted) {
  auto options = quick("http://127.0.0.1:1");
  options.queue.max_bytes = 200'000;
  options.retry.max_elapsed_ns = 30 * kMs;
  auto exporter = make(options);
  for (uint64_t i = 0; i < 300; i++) {
    BatchBuilder builder(kStart + (i + 1) * kPeriod);
    builder.on(resource(i + 1, "pod-" + std::to_string(i)));
    for (int64_t n = 0; n < 10; n++) builder.sum(kOperations, attributes({{"number", n}}), 1);
    exporter->push(builder.build());
    if (i % 30 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(eventually([&] {
    const ExporterStats stats = exporter->stats();
    return stats.queued_bytes <= options.queue.max_bytes && stats.points_dropped > 1'000;
  })) << exporter->stats().queued_bytes
      << " bytes wait, " << exporter->stats().points_dropped << " points dropped";
  EXPECT_EQ(exporter->stats().points_superseded, 0U);
}

TEST(OtlpExporterTest, DeltasAddUpOverFailuresAndSplits) {
  std::atomic<bool> down = false;
  OtlpServer server([&](size_t n, const pb::ExportMetricsServiceRequest& request, auto*) {
    if (down) return grpc::Status(grpc::UNAVAILABLE, "down");
    if (n % 3 == 1) return grpc::Status(grpc::ABORTED, "again");
    if (number_points(request).size() > 30) {
      return grpc::Status(grpc::RESOURCE_EXHAUSTED, "grpc: received message larger than max (2 vs. 1)");
    }
    return grpc::Status::OK;
  });
  auto options = quick(server.url());
  options.temporality = OtlpTemporality::Delta;
  options.retry.max_elapsed_ns = 150 * kMs;
  auto exporter = make(options);
  for (int i = 1; i <= 20; i++) {
    down = i > 5 && i < 15;
    exporter->push(many_sums(4, 25, i * i, kStart + static_cast<uint64_t>(i) * kPeriod));
    std::this_thread::sleep_for(std::chrono::milliseconds(15));
  }
  exporter->flush(10 * kSecondNs);
  std::map<std::string, int64_t> sums;
  for (auto& point : server.accepted()) {
    const size_t space = point.rfind(' ');
    sums[point.substr(0, space)] += std::stoll(point.substr(space + 1));
  }
  EXPECT_EQ(sums.size(), 100U);
  for (const auto& [stream, sum] : sums) EXPECT_EQ(sum, 400) << stream;
  EXPECT_EQ(exporter->stats().points_dropped, 0U);
}

TEST(OtlpExporterTest, PushNeverWaitsForTheReceiver) {
  std::promise<void> pushed;
  auto all_pushed = pushed.get_future().share();
  OtlpServer server([&](size_t, const auto&, auto*) {
    all_pushed.wait_for(std::chrono::seconds(60));
    return grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  for (int i = 0; i < 50; i++) exporter->push(one(i));
  EXPECT_EQ(exporter->stats().points_sent, 0U) << "nothing was answered yet";
  pushed.set_value();
}

TEST(OtlpExporterTest, ATimeoutEndsACallAndIsRetried) {
  OtlpServer server([](size_t n, const auto&, auto*) {
    if (n == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    return grpc::Status::OK;
  });
  auto options = quick(server.url());
  options.timeout_ns = 500 * kMs;
  auto exporter = make(options);
  exporter->push(one(5));
  exporter->flush(10 * kSecondNs);
  ASSERT_TRUE(exporter->stats().failures.contains("DEADLINE_EXCEEDED"));
  EXPECT_EQ(exporter->stats().points_sent, 1U);
}

TEST(OtlpExporterTest, StopsSoonWhateverTheReceiverDoes) {
  std::atomic<bool> stop = false;
  OtlpServer server([&](size_t, const auto&, auto*) {
    for (int i = 0; i < 6'000 && !stop; i++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return grpc::Status::OK;
  });
  auto exporter = make(quick(server.url()));
  exporter->push(one(5));
  ASSERT_TRUE(eventually([&] { return server.received().size() == 1; }));
  const auto begin = Clock::now();
  exporter->flush(100 * kMs);
  exporter.reset();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(30));  // it would answer after a minute
  stop = true;
}

TEST(OtlpExporterTest, FlushDoesNotWaitForAnAttemptThatComesTooLate) {
  auto options = quick("http://127.0.0.1:1");
  options.retry = {.initial_ns = 50 * kSecondNs, .max_ns = 60 * kSecondNs, .jitter = 0};
  auto exporter = make(options);
  exporter->push(one(5));
  const auto begin = Clock::now();
  exporter->flush(60 * kSecondNs);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(40));
  EXPECT_EQ(exporter->stats().points_sent, 0U);
  EXPECT_GE(exporter->stats().retries, 1U) << "it has tried";
}

TEST(OtlpExporterTest, ManyThreadsAskForStats) {
  OtlpServer server;
  auto exporter = make(quick(server.url()));
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    while (!stop) (void)exporter->stats().queued_bytes;
  });
  for (int i = 0; i < 50; i++) exporter->push(one(i, kStart + static_cast<uint64_t>(i)));
  exporter->flush(10 * kSecondNs);
  stop = true;
  reader.join();
  EXPECT_EQ(server.accepted().back(), one_text(49));
}

TEST(OtlpExporterTest, WrongOptionsAreToldAtOnce) {
  auto bad = make_otlp_exporter(quick("http://host:0"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message().rfind("OTLP endpoint: ", 0), 0U);
  auto options = quick("http://127.0.0.1:4318");
  options.protocol = OtlpProtocol::HttpProtobuf;
  EXPECT_FALSE(make_otlp_exporter(options, nullptr));
}

}  // namespace
}  // namespace sonde
