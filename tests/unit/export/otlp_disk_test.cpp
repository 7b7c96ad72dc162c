// SPDX-License-Identifier: Apache-2.0
// The exporter with a queue on disk, over restarts and kills.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <thread>

#include "agent/export/disk_queue.h"
#include "agent/export/otlp_encoder.h"
#include "agent/export/otlp_exporter.h"
#include "tests/unit/export/otlp_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT
namespace fs = std::filesystem;

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSecondNs = 1'000'000'000;

class OtlpDisk : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sonde-otlp-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::unique_ptr<Exporter> open(const std::string& endpoint, OtlpTemporality temporality = OtlpTemporality::Cumulative,
                                 uint64_t max_bytes = 64 << 20) {
    OtlpOptions options;
    options.endpoint = endpoint;
    options.retry = {.initial_ns = 20 * kMs, .max_ns = 50 * kMs, .max_elapsed_ns = 60 * kMs};
    options.temporality = temporality;
    options.queue.directory = directory_ / "queue";
    options.queue.max_disk_bytes = max_bytes;
    auto made = make_otlp_exporter(options);
    if (!made) throw std::runtime_error(made.error().message());
    return std::move(*made);
  }
  static BatchPtr batch(int64_t i) { return many_sums(2, 5, i, kStart + static_cast<uint64_t>(i) * kPeriod); }

  // The segments of the queue and their sizes; the exporter's thread may remove one while we look.
  std::map<std::string, uint64_t> segments() const {
    std::map<std::string, uint64_t> sizes;
    for (const auto& entry : fs::directory_iterator(directory_ / "queue")) {
      std::error_code gone;
      const uint64_t size = entry.path().extension() == ".q" ? entry.file_size(gone) : 0;
      if (size && !gone) sizes[entry.path().filename()] = size;
    }
    return sizes;
  }
  uint64_t segment_bytes() const {
    uint64_t bytes = 0;
    for (const auto& [name, size] : segments()) bytes += size;
    return bytes;
  }

  fs::path directory_;
};

TEST_F(OtlpDisk, EveryBatchOfAnOutageArrivesAfterARestart) {
  {
    auto exporter = open("http://127.0.0.1:1");
    for (int i = 1; i <= 10; i++) {
      const uint64_t before = segment_bytes();
      exporter->push(batch(i));
      ASSERT_TRUE(eventually([&] { return segment_bytes() > before; }));
    }
    EXPECT_TRUE(eventually([&] { return exporter->stats().queued_batches == 10; }));
    EXPECT_EQ(exporter->stats().points_superseded, 0U);
    EXPECT_GT(exporter->stats().retries, 0U);
  }
  OtlpServer server;
  auto exporter = open(server.url());
  EXPECT_EQ(exporter->stats().queued_batches, 10U);
  exporter->push(batch(11));
  exporter->flush(10 * kSecondNs);
  auto accepted = server.accepted();
  ASSERT_EQ(accepted.size(), 110U);
  for (size_t i = 0; i < accepted.size(); i++) {
    EXPECT_EQ(accepted[i].substr(accepted[i].rfind(' ') + 1), std::to_string(i / 10 + 1));  // in order
  }
  EXPECT_EQ(exporter->stats().queued_bytes, 0U);
}

TEST_F(OtlpDisk, WhatWasPushedJustBeforeTheEndIsKeptToo) {
  open("http://127.0.0.1:1")->push(batch(1));
  OtlpServer server;
  auto exporter = open(server.url());
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 10U);
}

// A real kill in the middle of writing.
TEST_F(OtlpDisk, SurvivesKillNine) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Only the queue: gRPC's threads do not outlive a fork.
    auto queue = DiskQueue::open(directory_ / "queue", 64 << 20);
    if (!queue) ::_exit(1);
    for (uint32_t i = 0;; i++) {
      OtlpEncoder encoder({});
      BatchCursor at;
      auto request = encoder.encode(*many_sums(1, 1, i), at);
      if (!(*queue)->push(request.bytes, request.points)) ::_exit(2);
      if (i == 50 && ::write(ready[1], "x", 1) != 1) ::_exit(3);
    }
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  OtlpServer server;
  auto exporter = open(server.url());
  exporter->flush(20 * kSecondNs);
  auto accepted = server.accepted();
  ASSERT_GT(accepted.size(), 50U);
  for (size_t i = 0; i < accepted.size(); i++) {
    EXPECT_EQ(accepted[i], "pod-0 sonde.test.operations number=0 " + std::to_string(i));
  }
  EXPECT_EQ(exporter->stats().points_dropped, 0U);
}

TEST_F(OtlpDisk, ATornEndIsToldAndTheRestSent) {
  {
    auto exporter = open("http://127.0.0.1:1");
    for (uint64_t i = 1; i <= 3; i++) {
      exporter->push(batch(static_cast<int64_t>(i)));
      // Each on disk before the next comes: what waits in memory would be merged.
      ASSERT_TRUE(eventually([&] { return exporter->stats().queued_batches == i && segment_bytes() > i * 300; }));
    }
  }
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(directory_ / "queue")) {
    if (entry.path().extension() == ".q") newest = std::max(newest, entry.path());
  }
  fs::resize_file(newest, fs::file_size(newest) - 10);
  OtlpServer server;
  auto exporter = open(server.url());
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 20U);
  EXPECT_EQ(exporter->stats().failures.at("queue_torn"), 1U);
}

TEST_F(OtlpDisk, OldestAreDroppedFirstAndCounted) {
  auto exporter = open("http://127.0.0.1:1", OtlpTemporality::Cumulative, 40'000);
  for (int i = 1; i <= 100; i++) {
    const auto before = segments();
    exporter->push(batch(i));
    // Each on disk before the next comes: what waits in memory would be merged.
    ASSERT_TRUE(eventually([&] { return segments() != before; }));
  }
  exporter->flush(100 * kMs);
  exporter.reset();
  OtlpServer server;
  exporter = open(server.url(), OtlpTemporality::Cumulative, 40'000);
  exporter->flush(10 * kSecondNs);
  auto accepted = server.accepted();
  EXPECT_LT(accepted.size(), 500U);
  EXPECT_GT(accepted.size(), 50U);
  EXPECT_TRUE(accepted.back().ends_with(" 100"));
}

TEST_F(OtlpDisk, DeltasOnDiskAddUp) {
  {
    auto exporter = open("http://127.0.0.1:1", OtlpTemporality::Delta);
    for (int i = 1; i <= 10; i++) {
      exporter->push(batch(i * i));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  OtlpServer server;
  auto exporter = open(server.url(), OtlpTemporality::Delta);
  exporter->flush(10 * kSecondNs);
  std::map<std::string, int64_t> sums;
  for (auto& point : server.accepted()) {
    const size_t space = point.rfind(' ');
    sums[point.substr(0, space)] += std::stoll(point.substr(space + 1));
  }
  ASSERT_EQ(sums.size(), 10U);
  for (const auto& [stream, sum] : sums) EXPECT_EQ(sum, 100) << stream;
}

TEST_F(OtlpDisk, RequestsOnDiskAreSplitToo) {
  {
    auto exporter = open("http://127.0.0.1:1");
    exporter->push(many_sums(5, 20));
    EXPECT_TRUE(eventually([&] { return exporter->stats().queued_batches == 1; }));
  }
  OtlpServer server([](size_t, const pb::ExportMetricsServiceRequest& request, auto*) {
    if (number_points(request).size() > 15) {
      return grpc::Status(grpc::RESOURCE_EXHAUSTED, "grpc: received message larger than max (2 vs. 1)");
    }
    return grpc::Status::OK;
  });
  auto exporter = open(server.url());
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 100U);
  EXPECT_EQ(exporter->stats().queued_batches, 0U);
  EXPECT_EQ(exporter->stats().points_dropped, 0U);
}

TEST_F(OtlpDisk, AnUnusableDirectoryIsToldAtOnce) {
  OtlpOptions options;
  options.queue.directory = directory_ / "a" / "b";
  EXPECT_FALSE(make_otlp_exporter(options));
}

TEST_F(OtlpDisk, ADirectoryThatAnotherAgentStillHasIsTakenWhenItIsFree) {
  OtlpServer server;
  auto old = open(server.url());
  auto fresh = open(server.url());  // an upgrade starts the new agent before the old one has ended
  fresh->push(many_sums(1, 2));
  fresh->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 2U) << "by way of memory";
  EXPECT_EQ(fresh->stats().failures.at("queue_in_use"), 1U);
  old.reset();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  auto waits = [&] {
    bool in_use = false;
    return static_cast<bool>(DiskQueue::open(directory_ / "queue", 64 << 20, &in_use));
  };
  for (int64_t value = 2; waits() && std::chrono::steady_clock::now() < end; value++) {
    fresh->push(many_sums(1, 1, value));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_FALSE(waits()) << "the new one has it now";
}

}  // namespace
}  // namespace sonde
