// SPDX-License-Identifier: Apache-2.0
// Names, negotiation, buckets and the state between batches.
#include <cmath>
#include <random>

#include "agent/export/prometheus_format.h"
#include "agent/export/prometheus_histogram.h"
#include "agent/export/prometheus_names.h"
#include "agent/export/prometheus_state.h"
#include "tests/unit/export/prometheus_support.h"

namespace sonde::prometheus_test {
namespace {

TEST(PrometheusNames, FollowTheCompatibilityRules) {
  struct Case {
    const char *name, *unit;
    Instrument instrument;
    const char *expected, *expected_unit;
  };
  const Case cases[] = {
      {"sonde.file.io", "By", Instrument::Counter, "sonde_file_io_bytes", "bytes"},
      {"sonde.file.operation.duration", "s", Instrument::Histogram, "sonde_file_operation_duration_seconds", "seconds"},
      {"container.cpu.time", "s", Instrument::Counter, "container_cpu_time_seconds", "seconds"},
      {"container.paging.faults", "{fault}", Instrument::Counter, "container_paging_faults", ""},
      {"container.memory.usage", "By", Instrument::UpDownCounter, "container_memory_usage_bytes", "bytes"},
      {"x.utilization", "1", Instrument::Gauge, "x_utilization_ratio", "ratio"},
      {"x.count", "1", Instrument::Counter, "x_count", ""},
      {"x.speed", "By/s", Instrument::Gauge, "x_speed_bytes_per_second", "bytes_per_second"},
      {"x.rate", "{packet}/s", Instrument::Gauge, "x_rate_per_second", "per_second"},
      {"x.seconds", "s", Instrument::Counter, "x_seconds", "seconds"},
      {"x.seconds.spent", "s", Instrument::Counter, "x_seconds_spent", ""},
      {"x.events.total", "", Instrument::Counter, "x_events", ""},
      {"1st..thing-here", "", Instrument::Gauge, "_1st_thing_here", ""},
      {"sonde.cpu.frequency", "Hz", Instrument::Gauge, "sonde_cpu_frequency_hertz", "hertz"},
  };
  for (const Case& c : cases) {
    PrometheusName got = prometheus_name({.name = c.name, .unit = c.unit, .instrument = c.instrument});
    EXPECT_EQ(got.name, c.expected) << c.name;
    EXPECT_EQ(got.unit, c.expected_unit) << c.name;
  }
}

TEST(PrometheusNames, Labels) {
  EXPECT_EQ(prometheus_label("k8s.pod.label.app.kubernetes.io/name"), "k8s_pod_label_app_kubernetes_io_name");
  EXPECT_EQ(prometheus_label("0abc"), "key_0abc");
  EXPECT_EQ(prometheus_label("__name__"), "_name_");
  EXPECT_EQ(prometheus_label("a..b"), "a_b");
  EXPECT_EQ(prometheus_label("le"), "exported_le");
  EXPECT_EQ(prometheus_label(""), "_");
}

TEST(PrometheusNegotiation, ByQuality) {
  auto format = [](std::string_view accept) { return negotiate_format(accept).format; };
  EXPECT_EQ(format(""), PrometheusFormat::Text);
  EXPECT_EQ(format("*/*"), PrometheusFormat::Text);
  EXPECT_EQ(format("text/html,application/json"), PrometheusFormat::Text);
  EXPECT_EQ(format("application/openmetrics-text"), PrometheusFormat::OpenMetrics);
  EXPECT_EQ(format("application/openmetrics-text;version=2.0.0,text/plain;q=0.1"), PrometheusFormat::Text);
  EXPECT_EQ(format("text/plain;q=0.5, application/openmetrics-text; version=1.0.0; q=0.9"),
            PrometheusFormat::OpenMetrics);
  EXPECT_EQ(format("application/openmetrics-text;q=0,text/plain;q=0.1"), PrometheusFormat::Text);
  EXPECT_EQ(format("application/openmetrics-text;q=abc,text/plain;q=0.1"), PrometheusFormat::Text);
  // As Prometheus 3 asks, with and without native histograms.
  EXPECT_EQ(format("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
                   "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;"
                   "q=0.3,*/*;q=0.2"),
            PrometheusFormat::OpenMetrics);
  Negotiated native = negotiate_format(
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;"
      "q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2");
  EXPECT_EQ(native.format, PrometheusFormat::Protobuf);
  EXPECT_TRUE(native.content_type.ends_with("encoding=delimited; escaping=allow-utf-8"));
  EXPECT_EQ(format("application/vnd.google.protobuf;proto=other.Message;encoding=delimited,*/*;q=0.1"),
            PrometheusFormat::Text);
  EXPECT_EQ(format("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"),
            PrometheusFormat::Text);
  EXPECT_TRUE(negotiate_format("application/openmetrics-text;version=1.0.0;escaping=dots")
                  .content_type.ends_with("escaping=underscores"));
  EXPECT_EQ(negotiate_format("text/plain;version=1.0.0;escaping=values").content_type,
            "text/plain; version=1.0.0; charset=utf-8; escaping=values");
  EXPECT_EQ(format(std::string(100'000, ',') + "application/openmetrics-text"), PrometheusFormat::OpenMetrics);
}

TEST(PrometheusNegotiation, Gzip) {
  EXPECT_TRUE(accepts_gzip("gzip"));
  EXPECT_TRUE(accepts_gzip("br;q=1.0, GZIP;q=0.8, *;q=0.1"));
  EXPECT_TRUE(accepts_gzip("*"));
  EXPECT_FALSE(accepts_gzip(""));
  EXPECT_FALSE(accepts_gzip("identity, deflate"));
  EXPECT_FALSE(accepts_gzip("*, gzip;q=0"));
}

// Each sample of known latency must lie in the bucket that its value says, in both forms.
TEST(PrometheusHistogram, ClassicAndNativeAgreeWithTheValues) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> exponent(-22, 7.4);
  std::vector<double> values;
  for (int i = 0; i < 5000; i++) values.push_back(std::exp2(exponent(random)));
  for (double bound : kExplicitBounds) values.push_back(bound);  // exactly on the bound: belongs below it
  constexpr int32_t kOffset = -121;
  std::vector<uint64_t> counts(160);
  for (double value : values) {
    // Smallest index whose upper bound is not below the value.
    int32_t index = static_cast<int32_t>(std::ceil(std::log2(value) * 4)) - 1;
    counts[static_cast<std::size_t>(index - kOffset)]++;
  }
  auto classic = classic_buckets(kOffset, counts.data(), static_cast<uint32_t>(counts.size()));
  for (std::size_t b = 0; b < classic.size(); b++) {
    double bound = kExplicitBounds[b];
    uint64_t expected = 0;
    for (double value : values) expected += value <= bound;
    EXPECT_EQ(classic[b], expected) << bound;
  }
  NativeBuckets native = native_buckets(kOffset, counts.data(), static_cast<uint32_t>(counts.size()));
  std::map<int64_t, int64_t> decoded;
  int64_t index = 0, count = 0;
  std::size_t delta = 0;
  for (const NativeSpan& span : native.spans) {
    index += span.offset;
    for (uint32_t i = 0; i < span.length; i++) {
      ASSERT_LT(delta, native.deltas.size());
      count += native.deltas[delta++];
      decoded[index++] = count;
    }
  }
  EXPECT_EQ(delta, native.deltas.size());
  for (std::size_t i = 0; i < counts.size(); i++) {
    int64_t prometheus_index = kOffset + static_cast<int64_t>(i) + 1;
    auto found = decoded.find(prometheus_index);
    EXPECT_EQ(found == decoded.end() ? 0 : found->second, static_cast<int64_t>(counts[i])) << prometheus_index;
  }
}

TEST(PrometheusHistogram, SpansSkipWideGapsOnly) {
  std::vector<uint64_t> counts{0, 5, 0, 0, 6, 0, 0, 0, 1, 0};
  NativeBuckets got = native_buckets(-10, counts.data(), 10);
  ASSERT_EQ(got.spans.size(), 2u);
  EXPECT_EQ(got.spans[0].offset, -8);
  EXPECT_EQ(got.spans[0].length, 4u);
  EXPECT_EQ(got.spans[1].offset, 3);
  EXPECT_EQ(got.spans[1].length, 1u);
  EXPECT_EQ(got.deltas, (std::vector<int64_t>{5, -5, 0, 6, -5}));
  EXPECT_TRUE(native_buckets(0, nullptr, 0).spans.empty());
}

int64_t value_of(const PrometheusState& state, uint64_t id, const MetricSpec& metric, const AttributeSet& set) {
  for (const ResourceSeriesPtr& series : state.snapshot())
    if (series->resource->id == id)
      for (const Point& point : series->points)
        if (point.metric == &metric && *point.attributes == set) return point.integer;
  return -1;
}

TEST(PrometheusState, PartsAreJoinedAndEndedSeriesLeave) {
  const AttributeSet read{{"disk.io.direction", "read"}}, write{{"disk.io.direction", "write"}};
  PrometheusState state(100);
  BatchBuilder first;
  first.resource(container(1, "a", "c"))
      .integer(kIo, attributes(read), 1)
      .integer(kIo, attributes(write), 2)
      .histogram(kDuration, attributes(), -4, {1, 2}, 1);
  first.resource(container(2, "b", "c")).integer(kIo, attributes(read), 3);
  EXPECT_EQ(state.update(*first.take(), 1), 0u);
  EXPECT_EQ(state.series(), 4u);

  BatchBuilder second;  // only one series of the first, in new objects
  second.resource(container(1, "a", "c")).integer(kIo, attributes(write), 20);
  state.update(*second.take(), 1);
  EXPECT_EQ(value_of(state, 1, kIo, read), 1);
  EXPECT_EQ(value_of(state, 1, kIo, write), 20);
  EXPECT_EQ(value_of(state, 2, kIo, read), 3);
  EXPECT_EQ(state.series(), 4u);
  ResourceSeriesPtr kept = state.snapshot()[0];
  for (const Point& point : kept->points)
    if (point.metric == &kDuration) {
      ASSERT_EQ(point.bucket_length, 2u);
      EXPECT_EQ(kept->buckets.at(point.bucket_begin + 1), 2u);
    }

  BatchBuilder third;
  third.resource(container(1, "a", "c")).ended(kIo, attributes(read));
  third.resource(container(2, "b", "c")).ended(kIo, attributes(read));
  state.update(*third.take(), 1);
  EXPECT_EQ(value_of(state, 1, kIo, read), -1);
  EXPECT_EQ(value_of(state, 1, kIo, write), 20);
  EXPECT_EQ(state.series(), 2u);
  EXPECT_EQ(state.snapshot().size(), 1u);  // the second Resource is gone altogether

  BatchBuilder again;  // an end mark of what was never there
  again.resource(container(7, "z", "c")).ended(kIo, attributes(read));
  state.update(*again.take(), 1);
  EXPECT_EQ(state.snapshot().size(), 1u);
}

TEST(PrometheusState, FullStateDropsNewSeriesAndCounts) {
  PrometheusState state(3);
  BatchBuilder batch;
  for (uint64_t id = 1; id <= 5; id++)
    batch.resource(container(id, std::to_string(id), "c")).integer(kIo, attributes(), 1);
  EXPECT_EQ(state.update(*batch.take(), 1), 2u);
  EXPECT_EQ(state.series(), 3u);
  BatchBuilder next;  // the ones inside go on
  next.resource(container(1, "1", "c")).integer(kIo, attributes(), 9);
  EXPECT_EQ(state.update(*next.take(), 1), 0u);
  EXPECT_EQ(value_of(state, 1, kIo, {}), 9);
}

}  // namespace
}  // namespace sonde::prometheus_test
