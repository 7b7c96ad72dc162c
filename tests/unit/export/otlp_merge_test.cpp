// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>

#include "agent/export/batch_merge.h"
#include "agent/export/otlp_delta.h"
#include "agent/export/otlp_split.h"
#include "tests/unit/export/otlp_support.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT

constexpr uint64_t kT1 = kStart + kPeriod, kT2 = kT1 + kPeriod, kT3 = kT2 + kPeriod;

std::vector<std::string> points_of(const Batch& batch) {
  OtlpEncoder encoder({.max_bytes = 64 << 20});
  BatchCursor at;
  auto encoded = encoder.encode(batch, at);
  return encoded.points == 0 ? std::vector<std::string>() : number_points(parsed(encoded.bytes));
}

AttributeSetPtr read_set() { return attributes({{"direction", std::string("read")}}); }
AttributeSetPtr write_set() { return attributes({{"direction", std::string("write")}}); }

TEST(BatchMerge, ANewerFullBatchReplacesAll) {
  auto older = many_sums(3, 10, 1, kT1);
  auto newer = many_sums(3, 10, 2, kT2);  // other attribute sets with equal content
  auto merged = merge_batches(older, newer);
  EXPECT_EQ(merged.batch, newer);  // not even a copy
  EXPECT_EQ(merged.superseded, 30U);
}

TEST(BatchMerge, KeepsEndedStreamsEndMarksAndEarlierLives) {
  auto older = BatchBuilder(kT1)
                   .on(resource(1, "a"))
                   .sum(kBytesRead, read_set(), 100)
                   .sum(kBytesRead, write_set(), 5)
                   .end(kBytesRead, write_set())
                   .histogram(kDuration, read_set(), -10, {1, 2, 3}, 6.5)
                   .on(resource(2, "b"))
                   .sum(kOperations, attributes(), 9)
                   .build();
  auto newer = BatchBuilder(kT2)
                   .on(resource(3, "c"))
                   .sum(kOperations, attributes(), 1)
                   .on(resource(1, "a"))
                   .sum(kOperations, attributes(), 44)
                   .sum(kBytesRead, read_set(), 7, kT1)  // began anew
                   .histogram(kDuration, write_set(), 3, {8}, 1)
                   .build();
  auto merged = merge_batches(older, newer);
  EXPECT_EQ(merged.superseded, 0U);
  auto points = points_of(*merged.batch);
  std::multiset<std::string> got(points.begin(), points.end());
  EXPECT_EQ(got, (std::multiset<std::string>{"a sonde.file.io direction=read 100", "a sonde.file.io direction=read 7",
                                             "a sonde.file.io direction=write 5", "a sonde.file.io direction=write end",
                                             "a sonde.test.operations 44", "b sonde.test.operations 9",
                                             "c sonde.test.operations 1"}));
  // The earlier life stands before the later one, histograms have their own buckets, each metric is there once.
  EXPECT_LT(std::find(points.begin(), points.end(), "a sonde.file.io direction=read 100"),
            std::find(points.begin(), points.end(), "a sonde.file.io direction=read 7"));
  OtlpEncoder encoder({});
  BatchCursor at;
  auto request = parsed(encoder.encode(*merged.batch, at).bytes);
  EXPECT_EQ(request.resource_metrics_size(), 3);
  int metrics = 0;
  for (const auto& rm : request.resource_metrics()) {
    metrics += rm.scope_metrics(0).metrics_size();
    for (const auto& metric : rm.scope_metrics(0).metrics()) {
      if (!metric.has_exponential_histogram()) continue;
      const auto& data = metric.exponential_histogram().data_points();
      ASSERT_EQ(data.size(), 2);
      EXPECT_EQ(data[0].positive().bucket_counts(2), 3U);
      EXPECT_EQ(data[1].positive().bucket_counts(0), 8U);
    }
  }
  EXPECT_EQ(metrics, 5);
}

TEST(BatchMerge, ManyMergesStayFlatWhileStreamsStaySame) {
  BatchPtr waiting = many_sums(10, 50, 0, kT1);
  const uint64_t size = batch_bytes(*waiting);
  for (uint64_t i = 1; i < 50; i++) {
    waiting = merge_batches(waiting, many_sums(10, 50, static_cast<int64_t>(i), kT1 + i * kPeriod)).batch;
    EXPECT_LE(batch_bytes(*waiting), size);
  }
}

TEST(BatchMerge, RestBeginsAtTheCursor) {
  auto batch = many_sums(3, 4);
  BatchCursor at{.resource = 1, .point = 3};
  auto rest = points_of(*rest_of(batch, at));
  EXPECT_EQ(rest.size(), 5U);
  EXPECT_EQ(rest.front(), "pod-1 sonde.test.operations number=3 1");
  EXPECT_EQ(rest_of(batch, {}), batch);
  EXPECT_TRUE(points_of(*rest_of(batch, {3, 0})).empty());
}

// After an outage the newest value is enough, but without what the series began with it would say nothing.
TEST(BatchMerge, WhatSeriesBeginWithIsKept) {
  auto first = BatchBuilder(kT1)
                   .on(resource(1, "a"))
                   .begins(kOperations, attributes(), 0, kStart + 1)
                   .sum(kOperations, attributes(), 5)
                   .build();
  auto second = BatchBuilder(kT2).on(resource(1, "a")).sum(kOperations, attributes(), 6).build();
  auto merged = merge_batches(merge_batches(first, second).batch, BatchBuilder(kT3)
                                                                      .on(resource(1, "a"))
                                                                      .begins(kOperations, attributes(), 6, kT2 + 1)
                                                                      .sum(kOperations, attributes(), 8)
                                                                      .build());
  EXPECT_EQ(points_of(*merged.batch),
            (std::vector<std::string>{"a sonde.test.operations 0", "a sonde.test.operations 6",
                                      "a sonde.test.operations 8"}));
}

TEST(BatchMerge, TrimDropsTheOldestOnly) {
  auto first = BatchBuilder(kT1).on(resource(1, "a")).sum(kOperations, attributes(), 1).build();
  auto second = BatchBuilder(kT2).on(resource(2, "b")).sum(kOperations, attributes(), 2).build();
  auto third = BatchBuilder(kT3).on(resource(3, "c")).sum(kOperations, attributes(), 3).build();
  auto all = merge_batches(merge_batches(first, second).batch, third).batch;
  std::vector<uint64_t> dropped;
  const auto visit = [&](const Resource& resource, const Point&) { dropped.push_back(resource.id); };
  EXPECT_EQ(trimmed(all, 1 << 20, visit), all);
  auto some = trimmed(all, batch_bytes(*all) - 1, visit);
  EXPECT_EQ(dropped, std::vector<uint64_t>{1});
  EXPECT_EQ(points_of(*some).size(), 2U);
  dropped.clear();
  auto newest = trimmed(all, 1, visit);
  EXPECT_EQ(dropped, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(points_of(*newest), std::vector<std::string>{"c sonde.test.operations 3"});
}

class DeltaTest : public testing::Test {
 protected:
  // Converts, takes all as delivered.
  BatchPtr step(const BatchPtr& batch) {
    auto out = delta_.convert(*batch);
    delta_.commit(*batch, {}, {static_cast<uint32_t>(batch->resources.size()), 0});
    return out;
  }
  static BatchPtr sums(uint64_t time, int64_t value, uint64_t start = kStart) {
    return BatchBuilder(time).on(resource(1)).sum(kOperations, read_set(), value, start).build();
  }
  static const Point& only(const BatchPtr& batch) { return batch->points.at(0); }

  DeltaConverter delta_{true, true};
};

TEST_F(DeltaTest, DifferencesAreContiguousAndAddUp) {
  const std::vector<int64_t> totals = {5, 5, 17, 100};
  uint64_t end = kStart;
  int64_t sum = 0;
  for (size_t i = 0; i < totals.size(); i++) {
    auto out = step(sums(kT1 + i * kPeriod, totals[i]));
    EXPECT_EQ(only(out).start_ns, end);
    end = only(out).time_ns;
    sum += only(out).integer;
    EXPECT_EQ(sum, totals[i]);
  }
}

TEST_F(DeltaTest, WhatFailedIsInTheNextDifference) {
  step(sums(kT1, 10));
  auto failed = delta_.convert(*sums(kT2, 15));
  EXPECT_EQ(only(failed).integer, 5);
  auto next = step(sums(kT3, 40));
  EXPECT_EQ(only(next).integer, 30);
  EXPECT_EQ(only(next).start_ns, kT1);
}

TEST_F(DeltaTest, HistogramsSubtractBucketByBucket) {
  const auto histogram = [](uint64_t time, int32_t offset, std::vector<uint64_t> counts, double sum) {
    return BatchBuilder(time).on(resource(1)).histogram(kDuration, read_set(), offset, counts, sum).build();
  };
  step(histogram(kT1, -10, {3, 0, 4}, 1.5));
  auto out = step(histogram(kT2, -12, {0, 1, 3, 2, 9, 0}, 4.0));
  const Point& point = only(out);
  EXPECT_EQ(point.count, 8U);
  EXPECT_DOUBLE_EQ(point.real, 2.5);
  EXPECT_EQ(point.start_ns, kT1);
  EXPECT_EQ(point.bucket_offset, -11);
  std::vector<uint64_t> counts(out->buckets.begin() + point.bucket_begin,
                               out->buckets.begin() + point.bucket_begin + point.bucket_length);
  EXPECT_EQ(counts, (std::vector<uint64_t>{1, 0, 2, 5}));
}

TEST_F(DeltaTest, UnknownStartIsABaseline) {
  auto out = step(sums(kT1, 1'000'000, kT1));
  EXPECT_EQ(only(out).metric, nullptr);
  out = step(sums(kT2, 1'000'007, kT1));
  EXPECT_EQ(only(out).integer, 7);
  EXPECT_EQ(only(out).start_ns, kT1);
}

TEST_F(DeltaTest, ARestartCountsFromItsStart) {
  step(sums(kT1, 50));
  auto merged = merge_batches(sums(kT2, 60), sums(kT3, 4, kT2 + 1)).batch;
  auto out = step(merged);
  EXPECT_EQ(out->points[0].integer, 10);
  EXPECT_EQ(out->points[1].integer, 4);
  EXPECT_EQ(out->points[1].start_ns, kT2 + 1);
  out = step(sums(kT3 + kPeriod, 6, kT2 + 1));
  EXPECT_EQ(only(out).integer, 2);
}

TEST_F(DeltaTest, ZerosAreNotSentAndTheFirstDifferenceBeginsAtTheStart) {
  auto out = step(BatchBuilder(kT1)
                      .on(resource(1))
                      .begins(kOperations, read_set(), 0, kStart + 1'000'000)
                      .sum(kOperations, read_set(), 5)
                      .build());
  EXPECT_EQ(out->points[0].metric, nullptr);
  EXPECT_EQ(out->points[1].integer, 5);
  EXPECT_EQ(out->points[1].start_ns, kStart);
}

// A stream that ended, and was told so, comes back with its totals: they are not told a second time.
TEST_F(DeltaTest, ASeriesThatComesBackGoesOnFromWhatItHad) {
  step(sums(kT1, 50));
  step(BatchBuilder(kT1 + 1).on(resource(1)).end(kOperations, read_set()).build());
  EXPECT_EQ(delta_.streams(), 0U);
  const auto back = BatchBuilder(kT3)
                        .on(resource(1))
                        .begins(kOperations, read_set(), 50, kT2)
                        .sum(kOperations, read_set(), 57)
                        .build();
  for (int sent = 0; sent < 2; ++sent) {  // the first time it fails
    auto out = sent ? step(back) : delta_.convert(*back);
    EXPECT_EQ(out->points[0].metric, nullptr);
    EXPECT_EQ(out->points[1].integer, 7);
    EXPECT_EQ(out->points[1].start_ns, kT2);
  }
  EXPECT_EQ(only(step(sums(kT3 + kPeriod, 60))).integer, 3);
}

// The mark waited with what came after it, and took the place of a value that was never told.
TEST_F(DeltaTest, WhatWasNotToldBeforeAMarkIsInTheNextDifference) {
  const auto told = [](const BatchPtr& batch) {
    int64_t sum = 0;
    for (const Point& point : batch->points) sum += point.metric ? point.integer : 0;
    return sum;
  };
  const auto waited = [&](int64_t value, uint64_t time, int64_t next) {
    const auto older =
        BatchBuilder(time).on(resource(1)).sum(kOperations, read_set(), value).end(kOperations, read_set()).build();
    const auto newer = BatchBuilder(time + kPeriod)
                           .on(resource(1))
                           .begins(kOperations, read_set(), value, time + 2)
                           .sum(kOperations, read_set(), next)
                           .build();
    return told(step(merge_batches(older, newer).batch));
  };
  EXPECT_EQ(waited(150, kT1, 157), 157) << "it was new";
  EXPECT_EQ(waited(200, kT3, 207), 50);
  // A value before the mark that is told in the same batch is no part of the next difference.
  const auto all = BatchBuilder(kT3 + 3 * kPeriod)
                       .on(resource(1))
                       .sum(kOperations, read_set(), 300)
                       .end(kOperations, read_set())
                       .begins(kOperations, read_set(), 300, kT3 + 2 * kPeriod)
                       .build();
  EXPECT_EQ(told(step(all)), 93);
}

TEST_F(DeltaTest, AFallingTotalMakesNoSpike) {
  step(sums(kT1, 50));
  EXPECT_EQ(only(step(sums(kT2, 20))).metric, nullptr);
  EXPECT_EQ(only(step(sums(kT3, 25))).integer, 5);
}

TEST_F(DeltaTest, EndedStreamsAreForgotten) {
  for (uint64_t i = 0; i < 1'000; i++) {
    auto batch =
        BatchBuilder(kT1 + i).on(resource(i + 1)).sum(kOperations, read_set(), 3).end(kOperations, read_set()).build();
    auto out = step(batch);
    EXPECT_EQ(out->points[0].integer, 3);
    EXPECT_EQ(out->points[1].metric, nullptr);
  }
  EXPECT_EQ(delta_.streams(), 0U);
}

TEST_F(DeltaTest, GaugesAndUpDownCountersStay) {
  auto batch = BatchBuilder(kT2)
                   .on(resource(1))
                   .sum(kDepth, attributes(), 3, 0)
                   .sum(kOpen, attributes(), 8)
                   .end(kOpen, read_set())
                   .build();
  step(batch);
  auto out = step(batch);
  EXPECT_EQ(out->points[0].integer, 3);
  EXPECT_EQ(out->points[1].integer, 8);
  EXPECT_EQ(out->points[1].start_ns, kStart);
  EXPECT_NE(out->points[2].metric, nullptr);
  EXPECT_EQ(delta_.streams(), 0U);
}

TEST_F(DeltaTest, LowMemoryIsDeltaForHistogramsOnly) {
  DeltaConverter low(false, true);
  auto batch = BatchBuilder(kT1)
                   .on(resource(1))
                   .sum(kOperations, read_set(), 3)
                   .histogram(kDuration, read_set(), 0, {1}, 1)
                   .build();
  low.commit(*batch, {}, {1, 0});
  auto out = low.convert(*BatchBuilder(kT2)
                              .on(resource(1))
                              .sum(kOperations, read_set(), 9)
                              .histogram(kDuration, read_set(), 0, {5}, 2)
                              .build());
  EXPECT_EQ(out->points[0].integer, 9);
  EXPECT_EQ(out->points[1].count, 4U);
}

TEST(Split, HalvesHoldEverythingOnceDownToOnePoint) {
  OtlpEncoder encoder({});
  BatchCursor at;
  auto batch = BatchBuilder()
                   .on(resource(1, "a"))
                   .sum(kBytesRead, read_set(), 1)
                   .sum(kBytesRead, write_set(), 2)
                   .sum(kOperations, read_set(), 3)
                   .on(resource(2, "b"))
                   .sum(kDepth, read_set(), 4, 0)
                   .sum(kOperations, write_set(), 5)
                   .build();
  std::vector<EncodedRequest> work = {encoder.encode(*batch, at)};
  const auto all = number_points(parsed(work[0].bytes));
  std::vector<std::string> got;
  size_t requests = 0;
  while (!work.empty()) {
    auto request = work.back();
    work.pop_back();
    auto halves = split_request(request.bytes);
    if (halves.empty()) {
      requests++;
      EXPECT_EQ(request.points, 1U);
      auto points = number_points(parsed(request.bytes));
      got.insert(got.end(), points.begin(), points.end());
      continue;
    }
    ASSERT_EQ(halves.size(), 2U);
    EXPECT_EQ(halves[0].points + halves[1].points, request.points);
    work.push_back(halves[1]);
    work.push_back(halves[0]);
  }
  EXPECT_EQ(requests, 5U);
  EXPECT_EQ(got, all);
  EXPECT_TRUE(split_request("no request").empty());
}

TEST(Split, CutsBetweenResourcesWherePossible) {
  OtlpEncoder encoder({});
  BatchCursor at;
  auto halves = split_request(encoder.encode(*many_sums(4, 10), at).bytes);
  ASSERT_EQ(halves.size(), 2U);
  EXPECT_EQ(parsed(halves[0].bytes).resource_metrics_size(), 2);
  EXPECT_EQ(parsed(halves[1].bytes).resource_metrics_size(), 2);
}

}  // namespace
}  // namespace sonde
