// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_encoder.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>

#include "agent/base/utf8.h"
#include "agent/export/explicit_bounds.h"
#include "agent/export/otlp_json.h"
#include "tests/unit/export/otlp_support.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT

BatchPtr every_kind() {
  auto read = attributes({{"disk.io.direction", std::string("read")}});
  auto write = attributes({{"disk.io.direction", std::string("write")}});
  auto mixed = attributes({{"error", true}, {"k8s.pod.name", std::string("own")}, {"number", int64_t{-7}}});
  return BatchBuilder()
      .on(resource(1))
      .sum(kBytesRead, read, 40'960'000)
      .sum(kBytesRead, write, INT64_MAX)
      .real(kSeconds, attributes(), 0.1)
      .sum(kOpen, mixed, -3)
      .histogram(kDuration, read, -49, {5, 0, 0, 300, 70'000}, 12.75)
      .end(kDuration, write)
      .on(resource(2, "redis-0"))
      .sum(kDepth, attributes(), 4, 0)
      .end(kBytesRead, read)
      .build();
}

// What the request must be, built with the generated classes.
pb::ExportMetricsServiceRequest expected(bool promote) {
  pb::ExportMetricsServiceRequest request;
  const auto add_text = [](auto* list, const char* key, const char* value) {
    auto* kv = list->Add();
    kv->set_key(key);
    kv->mutable_value()->set_string_value(value);
  };
  const auto scope = [&](const char* pod) {
    auto* rm = request.add_resource_metrics();
    rm->set_schema_url("https://opentelemetry.io/schemas/1.44.0");
    auto* count = rm->mutable_resource()->add_attributes();
    count->set_key("k8s.container.restart_count");
    count->mutable_value()->set_int_value(3);
    add_text(rm->mutable_resource()->mutable_attributes(), "k8s.pod.name", pod);
    add_text(rm->mutable_resource()->mutable_attributes(), "service.name", "sonde");
    auto* sm = rm->add_scope_metrics();
    sm->mutable_scope()->set_name("sonde");
    sm->mutable_scope()->set_version(SONDE_VERSION);
    return sm;
  };
  const auto promoted = [&](auto* point, const char* pod) {
    if (!promote) return;
    if (pod) add_text(point->mutable_attributes(), "k8s.pod.name", pod);
    add_text(point->mutable_attributes(), "k8s.namespace.name", "prod");
  };
  const auto times = [](auto* point, bool start = true) {
    if (start) point->set_start_time_unix_nano(kStart);
    point->set_time_unix_nano(kStart + kPeriod);
  };

  auto* sm = scope("postgres-0");
  auto* io = sm->add_metrics();
  io->set_name("sonde.file.io");
  io->set_description("Bytes moved");
  io->set_unit("By");
  io->mutable_sum()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  io->mutable_sum()->set_is_monotonic(true);
  for (auto [direction, value] : {std::pair("read", int64_t{40'960'000}), std::pair("write", INT64_MAX)}) {
    auto* p = io->mutable_sum()->add_data_points();
    times(p);
    add_text(p->mutable_attributes(), "disk.io.direction", direction);
    promoted(p, "postgres-0");
    p->set_as_int(value);
  }
  auto* time = sm->add_metrics();
  time->set_name("sonde.thread.time");
  time->set_unit("s");
  time->mutable_sum()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  time->mutable_sum()->set_is_monotonic(true);
  auto* seconds = time->mutable_sum()->add_data_points();
  times(seconds);
  promoted(seconds, "postgres-0");
  seconds->set_as_double(0.1);
  auto* open = sm->add_metrics();
  open->set_name("sonde.file.open_descriptors");
  open->set_unit("{file}");
  open->mutable_sum()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  auto* files = open->mutable_sum()->add_data_points();
  times(files);
  files->set_as_int(-3);
  auto* error = files->add_attributes();
  error->set_key("error");
  error->mutable_value()->set_bool_value(true);
  add_text(files->mutable_attributes(), "k8s.pod.name", "own");
  auto* number = files->add_attributes();
  number->set_key("number");
  number->mutable_value()->set_int_value(-7);
  promoted(files, nullptr);  // the point's own k8s.pod.name stays
  auto* duration = sm->add_metrics();
  duration->set_name("sonde.file.operation.duration");
  duration->set_description("How long");
  duration->set_unit("s");
  auto* data = duration->mutable_exponential_histogram();
  data->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  auto* h = data->add_data_points();
  times(h);
  add_text(h->mutable_attributes(), "disk.io.direction", "read");
  promoted(h, "postgres-0");
  h->set_count(70'305);
  h->set_sum(12.75);
  h->set_scale(2);
  h->mutable_positive()->set_offset(-49);
  for (uint64_t count : {5, 0, 0, 300, 70'000}) h->mutable_positive()->add_bucket_counts(count);
  auto* ended = data->add_data_points();
  times(ended);
  add_text(ended->mutable_attributes(), "disk.io.direction", "write");
  promoted(ended, "postgres-0");
  ended->set_sum(0);
  ended->set_scale(2);
  ended->mutable_positive();
  ended->set_flags(1);

  sm = scope("redis-0");
  auto* depth = sm->add_metrics();
  depth->set_name("sonde.block.queue.depth");
  depth->set_unit("{operation}");
  auto* gauge = depth->mutable_gauge()->add_data_points();
  times(gauge, false);
  promoted(gauge, "redis-0");
  gauge->set_as_int(4);
  auto* gone = sm->add_metrics();
  gone->CopyFrom(*io);
  gone->mutable_sum()->clear_data_points();
  auto* mark = gone->mutable_sum()->add_data_points();
  times(mark);
  add_text(mark->mutable_attributes(), "disk.io.direction", "read");
  promoted(mark, "redis-0");
  mark->set_flags(1);
  return request;
}

void expect_same(const google::protobuf::Message& want, const google::protobuf::Message& got) {
  google::protobuf::util::MessageDifferencer differ;
  std::string report;
  differ.ReportDifferencesToString(&report);
  EXPECT_TRUE(differ.Compare(want, got)) << report;
}

TEST(OtlpEncoder, WritesEveryKindOfPoint) {
  for (bool promote : {false, true}) {
    OtlpEncoder encoder({.promote = promote});
    BatchCursor at;
    auto request = encoder.encode(*every_kind(), at);
    EXPECT_EQ(request.points, 8U);
    auto decoded = parsed(request.bytes);
    expect_same(expected(promote), decoded);
    // The same bytes as the generated classes would write, but for the order of fields: no longer than these.
    EXPECT_EQ(request.bytes.size(), decoded.ByteSizeLong());
  }
}

TEST(OtlpEncoder, JsonSaysTheSameAsProtobuf) {
  for (bool promote : {false, true}) {
    BatchCursor at;
    auto line = encode_otlp_json({.promote = promote}, *every_kind(), at, 1 << 20);
    EXPECT_EQ(line.points, 8U);
    EXPECT_EQ(line.bytes.find('\n'), std::string::npos);
    pb::ExportMetricsServiceRequest decoded;
    auto status = google::protobuf::util::JsonStringToMessage(line.bytes, &decoded);
    ASSERT_TRUE(status.ok()) << status.ToString() << line.bytes;
    expect_same(expected(promote), decoded);
  }
}

TEST(OtlpEncoder, JsonHasStringsForLongNumbersAndNumbersForEnumerations) {
  BatchCursor at;
  auto text =
      encode_otlp_json({}, *BatchBuilder().on(resource(1)).sum(kOperations, attributes(), 5).build(), at, 1 << 20);
  EXPECT_EQ(text.bytes,
            R"({"resourceMetrics":[{"resource":{"attributes":[)"
            R"({"key":"k8s.container.restart_count","value":{"intValue":"3"}},)"
            R"({"key":"k8s.pod.name","value":{"stringValue":"postgres-0"}},)"
            R"({"key":"service.name","value":{"stringValue":"sonde"}}]},)"
            R"("scopeMetrics":[{"scope":{"name":"sonde","version":")" SONDE_VERSION R"("},"metrics":[)"
            R"({"name":"sonde.test.operations","unit":"{operation}","sum":{"dataPoints":[)"
            R"({"startTimeUnixNano":"1700000000000000000","timeUnixNano":"1700000030000000000","asInt":"5"}],)"
            R"("aggregationTemporality":2,"isMonotonic":true}}]}],)"
            R"("schemaUrl":"https://opentelemetry.io/schemas/1.44.0"}]})");
}

TEST(OtlpEncoder, TemporalityIsOfCountersAndHistogramsOnly) {
  OtlpEncoder encoder({.delta_counters = true, .delta_histograms = true});
  BatchCursor at;
  auto metrics = parsed(encoder.encode(*every_kind(), at).bytes).resource_metrics(0).scope_metrics(0).metrics();
  EXPECT_EQ(metrics[0].sum().aggregation_temporality(), pb::AGGREGATION_TEMPORALITY_DELTA);
  EXPECT_EQ(metrics[2].sum().aggregation_temporality(), pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  EXPECT_EQ(metrics[3].exponential_histogram().aggregation_temporality(), pb::AGGREGATION_TEMPORALITY_DELTA);
}

// A wait of 0 ns is in the kernel's lowest bucket, and no exponential bucket holds zero.
TEST(OtlpEncoder, TheLowestBucketIsTheZeroCount) {
  for (const auto& counts : {std::vector<uint64_t>{7, 0, 0, 5}, std::vector<uint64_t>{7}}) {
    auto batch = BatchBuilder().on(resource(1)).histogram(kDuration, attributes(), -121, counts, 1e-8).build();
    OtlpEncoder encoder({});
    BatchCursor at;
    auto request = encoder.encode(*batch, at);
    auto binary = parsed(request.bytes);
    EXPECT_EQ(request.bytes.size(), binary.ByteSizeLong());
    auto point = binary.resource_metrics(0).scope_metrics(0).metrics(0).exponential_histogram().data_points(0);
    EXPECT_EQ(point.zero_count(), 7U);
    EXPECT_EQ(point.zero_threshold(), std::exp2(-30.0));
    EXPECT_EQ(point.count(), counts.size() == 1 ? 7U : 12U);
    ASSERT_EQ(point.positive().bucket_counts_size(), counts.size() == 1 ? 0 : 1);
    if (counts.size() > 1) {
      EXPECT_EQ(point.positive().offset(), -118);
      EXPECT_EQ(point.positive().bucket_counts(0), 5U);
    }
    at = {};
    auto line = encode_otlp_json({}, *batch, at, 1 << 20);
    pb::ExportMetricsServiceRequest decoded;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line.bytes, &decoded).ok()) << line.bytes;
    expect_same(binary, decoded);
  }
}

TEST(OtlpEncoder, ExplicitBucketsHoldWholeExponentialOnes) {
  for (int32_t index = -140; index < 60; index++) {
    const size_t bucket = explicit_bucket(index);
    const double lower = std::exp2(index / 4.0);
    const double upper = std::exp2((index + 1) / 4.0);
    if (bucket < kExplicitBounds.size()) {
      EXPECT_LE(upper, kExplicitBounds[bucket] * (1 + 1e-12)) << index;
    }
    if (bucket > 0) {
      EXPECT_GE(lower, kExplicitBounds[bucket - 1] * (1 - 1e-12)) << index;
    }
  }
}

TEST(OtlpEncoder, WritesExplicitHistograms) {
  // (1 s, 2^(1/4) s] … (2^(3/4), 2] lie up to 2 s, index 4 above it; index -1 ends at exactly one second.
  auto batch =
      BatchBuilder().on(resource(1)).histogram(kDuration, attributes(), -1, {1, 2, 4, 8, 16, 32}, 99.5).build();
  OtlpEncoder encoder({.histograms = OtlpHistograms::Explicit});
  BatchCursor at;
  auto binary = parsed(encoder.encode(*batch, at).bytes);
  auto point = binary.resource_metrics(0).scope_metrics(0).metrics(0).histogram().data_points(0);
  ASSERT_EQ(point.explicit_bounds_size(), 25);
  ASSERT_EQ(point.bucket_counts_size(), 26);
  EXPECT_EQ(point.explicit_bounds(18), 1.0);
  EXPECT_EQ(point.bucket_counts(18), 1U);
  EXPECT_EQ(point.bucket_counts(19), 30U);
  EXPECT_EQ(point.bucket_counts(20), 32U);
  EXPECT_EQ(point.count(), 63U);
  EXPECT_EQ(point.sum(), 99.5);
  at = {};
  auto line = encode_otlp_json({.histograms = OtlpHistograms::Explicit}, *batch, at, 1 << 20);
  pb::ExportMetricsServiceRequest decoded;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line.bytes, &decoded).ok());
  expect_same(binary, decoded);
}

// The 99th percentile of 30 ms, as a receiver works it out: it was 58 ms with bounds a factor of four apart.
TEST(OtlpEncoder, AQuantileOfExplicitBucketsIsWithinAFactorOfTwo) {
  for (double value = 4e-6; value < 16; value *= 1.1) {
    const auto counts =
        explicit_counts(static_cast<int32_t>(std::ceil(std::log2(value) * 4)) - 1, std::array<uint64_t, 1>{1000});
    const auto bucket = static_cast<size_t>(std::ranges::find(counts, 1000U) - counts.begin());
    ASSERT_GT(bucket, 0U);
    ASSERT_LT(bucket, kExplicitBounds.size());
    const double lower = kExplicitBounds[bucket - 1], upper = kExplicitBounds[bucket];
    const double p99 = lower + 0.99 * (upper - lower);
    EXPECT_LT(p99, 2 * value) << value;
    EXPECT_GT(p99, value * 0.99) << value;
  }
}

TEST(OtlpEncoder, EndMarksOfHistogramsAreWhole) {
  auto batch = BatchBuilder().on(resource(1)).histogram(kDuration, attributes(), -1, {1}, 9.5).build();
  auto ended = std::make_shared<Batch>(*batch);
  Point& mark = ended->points[0];
  mark.no_recorded_value = true;
  mark.count = mark.bucket_length = 0;
  mark.real = 0;
  for (const auto form : {OtlpHistograms::Explicit, OtlpHistograms::Exponential}) {
    OtlpEncoder encoder({.histograms = form});
    BatchCursor at;
    auto binary = parsed(encoder.encode(*ended, at).bytes);
    const auto& metric = binary.resource_metrics(0).scope_metrics(0).metrics(0);
    if (form == OtlpHistograms::Explicit) {
      const auto& point = metric.histogram().data_points(0);
      EXPECT_EQ(point.flags(), 1U);
      EXPECT_EQ(point.count(), 0U);
      EXPECT_TRUE(point.has_sum());
      EXPECT_EQ(point.sum(), 0);
      ASSERT_EQ(point.explicit_bounds_size(), static_cast<int>(kExplicitBounds.size()));
      for (size_t i = 0; i < kExplicitBounds.size(); i++) {
        EXPECT_EQ(point.explicit_bounds(static_cast<int>(i)), kExplicitBounds[i]);
      }
      ASSERT_EQ(point.bucket_counts_size(), static_cast<int>(kExplicitBounds.size() + 1));
      for (const uint64_t count : point.bucket_counts()) EXPECT_EQ(count, 0U);
    } else {
      const auto& point = metric.exponential_histogram().data_points(0);
      EXPECT_EQ(point.flags(), 1U);
      EXPECT_EQ(point.count(), 0U);
      EXPECT_TRUE(point.has_sum());
      EXPECT_EQ(point.scale(), 2);
      EXPECT_EQ(point.positive().bucket_counts_size(), 0);
    }
    at = {};
    auto line = encode_otlp_json({.histograms = form}, *ended, at, 1 << 20);
    pb::ExportMetricsServiceRequest decoded;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line.bytes, &decoded).ok()) << line.bytes;
    expect_same(binary, decoded);
  }
}

TEST(OtlpEncoder, SplitsBelowTheLimitAndLosesNoPoint) {
  auto batch = many_sums(7, 500);
  for (uint64_t limit : {100ULL, 1'000ULL, 5'003ULL, 20'000ULL, 50'000ULL, 10'000'000ULL}) {
    for (bool json : {false, true}) {
      OtlpEncoder encoder({.max_bytes = limit});
      BatchCursor at;
      std::vector<std::string> all;
      uint32_t requests = 0;
      while (true) {
        auto part = json ? encode_otlp_json({}, *batch, at, limit) : encoder.encode(*batch, at);
        if (part.points == 0) break;
        requests++;
        EXPECT_TRUE(part.bytes.size() <= limit || part.points == 1) << limit << " " << part.bytes.size();
        pb::ExportMetricsServiceRequest decoded;
        if (json) {
          ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(part.bytes, &decoded).ok());
        } else {
          decoded = parsed(part.bytes);
        }
        auto points = number_points(decoded);
        EXPECT_EQ(points.size(), part.points);
        for (const auto& rm : decoded.resource_metrics()) EXPECT_GT(rm.scope_metrics(0).metrics_size(), 0);
        all.insert(all.end(), points.begin(), points.end());
      }
      EXPECT_TRUE(at_end(*batch, at));
      ASSERT_EQ(all.size(), 3500U) << limit;
      std::vector<std::string> want;
      for (int r = 0; r < 7; r++) {
        for (int i = 0; i < 500; i++) {
          want.push_back("pod-" + std::to_string(r) + " sonde.test.operations number=" + std::to_string(i) + " 1");
        }
      }
      EXPECT_EQ(all, want);
      if (limit == 10'000'000ULL) {
        EXPECT_EQ(requests, 1U);
      }
    }
  }
}

TEST(OtlpEncoder, LargeMessagesHaveRightLengths) {
  // Above 2 MiB lengths take four bytes, at every level.
  auto batch = many_sums(1, 60'000);
  OtlpEncoder encoder({.max_bytes = 64 << 20});
  BatchCursor at;
  auto request = encoder.encode(*batch, at);
  EXPECT_GT(request.bytes.size(), 2U << 20);
  EXPECT_EQ(number_points(parsed(request.bytes)).size(), 60'000U);
}

TEST(OtlpEncoder, NothingToSendIsNoRequest) {
  OtlpEncoder encoder({});
  BatchCursor at;
  EXPECT_EQ(encoder.encode(Batch{}, at).points, 0U);
  auto empty = BatchBuilder().on(resource(1)).on(resource(2)).build();
  at = {};
  EXPECT_TRUE(encoder.encode(*empty, at).bytes.empty());
}

TEST(OtlpEncoder, InvalidUtf8IsRepairedAndCounted) {
  auto batch = BatchBuilder()
                   .on(resource(1, "caf\xc3\xa9"))
                   .sum(kOperations,
                        attributes({{"comm", std::string("a\xff\xfe"
                                                         "b\xed\xa0\x80")}}),
                        1)
                   .build();
  OtlpEncoder encoder({});
  BatchCursor at;
  auto decoded = parsed(encoder.encode(*batch, at).bytes);
  EXPECT_EQ(number_points(decoded), (std::vector<std::string>{"caf\xc3\xa9 sonde.test.operations comm=a??b??? 1"}));
  EXPECT_EQ(encoder.repaired_strings(), 1U);
  at = {};
  auto line = encode_otlp_json({}, *batch, at, 1 << 20);
  pb::ExportMetricsServiceRequest from_json;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line.bytes, &from_json).ok());
  expect_same(decoded, from_json);
}

TEST(Utf8, KnowsTheEdges) {
  for (const char* good : {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "twelve bytes \xe2\x82\xac"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
    EXPECT_EQ(made_utf8(good), good);
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "long enough text \xff"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
    EXPECT_TRUE(is_utf8(made_utf8(bad))) << bad;
    EXPECT_EQ(made_utf8(bad).size(), std::string(bad).size());
  }
}

TEST(Json, EscapesWhatMustBe) {
  std::string out;
  append_json_string(out, "a\"b\\c\n\t\x01/\x7f\xff");
  EXPECT_EQ(out, R"("a\"b\\c\n\u0009\u0001/\u007f?")");
}

}  // namespace
}  // namespace sonde
