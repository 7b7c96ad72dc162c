// SPDX-License-Identifier: Apache-2.0
// Delimited io.prometheus.client.MetricFamily: each message has its length in front as a varint.
#include <google/protobuf/arena.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/delimited_message_util.h>

#include <limits>

#include "agent/export/prometheus_format.h"
#include "agent/export/prometheus_histogram.h"
#include "agent/export/zero_bucket.h"
#include "io/prometheus/client/metrics.pb.h"

namespace sonde {
namespace {

namespace client = io::prometheus::client;

constexpr int kSchema = 2;  // as the kernel counts: SONDE_HIST_SCALE

void set_time(google::protobuf::Timestamp* out, uint64_t ns) {
  out->set_seconds(static_cast<int64_t>(ns / 1'000'000'000));
  out->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
}

void add_labels(client::Metric& metric, const LabelSet* set) {
  if (!set) return;
  for (const PrometheusLabel& label : set->labels) {
    client::LabelPair* pair = metric.add_label();
    pair->set_name(*label.name);
    pair->set_value(label.value);
  }
}

// Classic and native: a server takes the one it is set up for.
void fill_histogram(client::Histogram& out, const PrometheusSample& sample) {
  const Point& point = *sample.histogram;
  out.set_sample_count(point.count);
  out.set_sample_sum(point.real);
  auto counts = classic_buckets(point.bucket_offset, sample.buckets, point.bucket_length);
  auto add_bucket = [&](double bound, uint64_t count) {
    client::Bucket* bucket = out.add_bucket();
    bucket->set_upper_bound(bound);
    bucket->set_cumulative_count(count);
  };
  for (std::size_t i = 0; i < counts.size(); i++) add_bucket(kExplicitBounds[i], counts[i]);
  add_bucket(std::numeric_limits<double>::infinity(), point.count);

  out.set_schema(kSchema);
  out.set_zero_threshold(kZeroThreshold);
  const WithoutZero split = without_zero(point.bucket_offset, {sample.buckets, point.bucket_length});
  out.set_zero_count(split.zero);
  NativeBuckets native = native_buckets(split.offset, split.counts.data(), static_cast<uint32_t>(split.counts.size()));
  for (const NativeSpan& span : native.spans) {
    client::BucketSpan* made = out.add_positive_span();
    made->set_offset(span.offset);
    made->set_length(span.length);
  }
  for (int64_t delta : native.deltas) out.add_positive_delta(delta);
  if (sample.start_ns) set_time(out.mutable_created_timestamp(), sample.start_ns);
}

void fill_metric(client::Metric& out, PrometheusType type, const PrometheusSample& sample) {
  add_labels(out, sample.shared);
  add_labels(out, sample.own);
  double value = sample.is_integer ? static_cast<double>(sample.integer) : sample.real;
  if (sample.histogram) {
    fill_histogram(*out.mutable_histogram(), sample);
  } else if (type == PrometheusType::Counter) {
    out.mutable_counter()->set_value(value);
    if (sample.start_ns) set_time(out.mutable_counter()->mutable_created_timestamp(), sample.start_ns);
  } else {
    out.mutable_gauge()->set_value(value);
  }
}

}  // namespace

std::string render_protobuf(const PrometheusFamilies& families) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  for (const auto& [name, family] : families.families()) {
    google::protobuf::Arena arena;
    auto* made = google::protobuf::Arena::CreateMessage<client::MetricFamily>(&arena);
    made->set_help(family.help);
    if (!family.unit.empty()) made->set_unit(family.unit);
    switch (family.type) {
      case PrometheusType::Counter:
        made->set_name(name + "_total");
        made->set_type(client::COUNTER);
        break;
      case PrometheusType::Histogram:
        made->set_name(name);
        made->set_type(client::HISTOGRAM);
        break;
      case PrometheusType::Info:
        made->set_name(name + "_info");
        made->set_type(client::GAUGE);
        break;
      case PrometheusType::Gauge:
        made->set_name(name);
        made->set_type(client::GAUGE);
        break;
    }
    made->mutable_metric()->Reserve(static_cast<int>(family.samples.size()));
    for (const PrometheusSample& sample : family.samples) fill_metric(*made->add_metric(), family.type, sample);
    google::protobuf::util::SerializeDelimitedToZeroCopyStream(*made, &stream);
  }
  return out;
}

}  // namespace sonde
