// SPDX-License-Identifier: Apache-2.0
#include "agent/api/grpc_encode.h"

#include <algorithm>

#include "agent/base/text.h"
#include "agent/base/utf8.h"

namespace sonde {
namespace {

constexpr int kScale = 2;

void encode_attribute(const Attribute& attribute, v1::Attribute& out) {
  out.set_key(made_utf8(attribute.key));
  if (const auto* text = std::get_if<std::string>(&attribute.value))
    out.set_text(made_utf8(*text));
  else if (const auto* number = std::get_if<int64_t>(&attribute.value))
    out.set_integer(*number);
  else
    out.set_boolean(std::get<bool>(attribute.value));
}

template <typename Repeated>
void encode_attributes(const AttributeSet& attributes, Repeated* out) {
  for (const Attribute& attribute : attributes) encode_attribute(attribute, *out->Add());
}

bool equal(const Attribute& have, const v1::Attribute& want) {
  if (have.key != want.key()) return false;
  switch (want.value_case()) {
    case v1::Attribute::kText: {
      const auto* text = std::get_if<std::string>(&have.value);
      return text && *text == want.text();
    }
    case v1::Attribute::kInteger: {
      const auto* number = std::get_if<int64_t>(&have.value);
      return number && *number == want.integer();
    }
    case v1::Attribute::kBoolean: {
      const auto* truth = std::get_if<bool>(&have.value);
      return truth && *truth == want.boolean();
    }
    case v1::Attribute::VALUE_NOT_SET: break;
  }
  return true;  // it is there, with any value
}

template <typename Wanted>
bool has_all(const AttributeSet& have, const Wanted& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const v1::Attribute& want) {
    return std::any_of(have.begin(), have.end(), [&](const Attribute& attribute) { return equal(attribute, want); });
  });
}

template <typename Patterns>
bool named_by(std::string_view name, const Patterns& patterns) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) { return glob_match(pattern, name); });
}

v1::Metric::Type type_of(Instrument instrument) {
  switch (instrument) {
    case Instrument::Counter: return v1::Metric::COUNTER;
    case Instrument::UpDownCounter: return v1::Metric::UP_DOWN_COUNTER;
    case Instrument::Gauge: return v1::Metric::GAUGE;
    case Instrument::Histogram: return v1::Metric::HISTOGRAM;
  }
  return v1::Metric::TYPE_UNSPECIFIED;
}

void encode_point(const Point& point, const uint64_t* buckets, v1::Point& out) {
  encode_attributes(*point.attributes, out.mutable_attributes());
  out.set_start_unix_ns(point.start_ns);
  out.set_time_unix_ns(point.time_ns);
  if (point.metric->instrument == Instrument::Histogram) {
    v1::Histogram& histogram = *out.mutable_histogram();
    histogram.set_count(point.count);
    histogram.set_sum(point.real);
    histogram.set_scale(kScale);
    histogram.set_offset(point.bucket_offset);
    for (uint32_t i = 0; i < point.bucket_length; i++) histogram.add_counts(buckets[i]);
  } else if (point.metric->integer) {
    out.set_integer(point.integer);
  } else {
    out.set_real(point.real);
  }
}

}  // namespace

bool encode_metrics(const ResourceSeries& series, const v1::GetMetricsRequest& request, v1::ResourceMetrics& out) {
  if (!has_all(series.resource->attributes, request.resource())) return false;
  out.set_time_unix_ns(series.time_ns);
  v1::Metric* metric = nullptr;
  const MetricSpec* last = nullptr;
  for (const Point& point : series.points) {
    if (point.metric != last) {
      last = point.metric;
      metric = nullptr;
      if (named_by(last->name, request.metrics())) {
        metric = out.add_metrics();
        metric->set_name(std::string(last->name));
        metric->set_unit(std::string(last->unit));
        metric->set_description(std::string(last->description));
        metric->set_type(type_of(last->instrument));
      }
    }
    if (metric) encode_point(point, series.buckets.data() + point.bucket_begin, *metric->add_points());
  }
  if (out.metrics().empty()) return false;
  encode_attributes(series.resource->attributes, out.mutable_resource());
  return true;
}

bool encode_event(const OperationEvent& event, const v1::StreamEventsRequest& request, v1::Event& out) {
  static const AttributeSet kNone;
  const AttributeSet& resource = event.resource ? event.resource->attributes : kNone;
  if (event.duration_ns < request.min_duration_ns() || !named_by(event.operation, request.operations()) ||
      !has_all(resource, request.resource()))
    return false;
  out.set_operation(made_utf8(event.operation));
  out.set_start_unix_ns(event.start_ns);
  out.set_duration_ns(event.duration_ns);
  out.set_pid(event.pid);
  out.set_tid(event.tid);
  out.set_comm(made_utf8(event.comm));
  encode_attributes(resource, out.mutable_resource());
  encode_attributes(event.attributes, out.mutable_attributes());
  out.set_trace_id(event.trace_id);
  out.set_span_id(event.span_id);
  out.set_parent_span_id(event.parent_span_id);
  return true;
}

}  // namespace sonde
