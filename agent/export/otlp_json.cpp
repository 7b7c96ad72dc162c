// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_json.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <iterator>
#include <span>

#include "agent/base/utf8.h"
#include "agent/export/explicit_bounds.h"
#include "agent/export/zero_bucket.h"

namespace sonde {
namespace {

// See write_points() for the calls. A comma is due where the text before does not open something, so that setting back
// needs no other state.
class JsonWriter {
 public:
  explicit JsonWriter(const EncodeOptions& options) : options_(options) { out_ = R"({"resourceMetrics":[)"; }

  uint64_t size() const { return out_.size(); }
  void truncate(uint64_t size) { out_.resize(size); }
  static constexpr uint64_t closing_bytes() { return 128 + kSchemaUrl.size(); }
  std::string take() {
    out_ += "]}";
    return std::move(out_);
  }

  void open_resource(const Resource& resource) {
    resource_ = &resource;
    comma();
    out_ += R"({"resource":{)";
    if (!resource.attributes.empty()) {
      open_attributes();
      for (const Attribute& attribute : resource.attributes) put_attribute(attribute);
      out_ += ']';
    }
    append(R"(}},"scopeMetrics":[{{"scope":{{"name":"{}","version":"{}"}},"metrics":[)", kScopeName, SONDE_VERSION);
  }

  void close_resource() { append(R"(]}}],"schemaUrl":"{}"}})", kSchemaUrl); }

  void open_metric(const MetricSpec& metric) {
    instrument_ = metric.instrument;
    comma();
    out_ += R"({"name":)";
    append_json_string(out_, metric.name);
    if (!metric.description.empty()) {
      out_ += R"(,"description":)";
      append_json_string(out_, metric.description);
    }
    if (!metric.unit.empty()) {
      out_ += R"(,"unit":)";
      append_json_string(out_, metric.unit);
    }
    append(R"(,"{}":{{"dataPoints":[)", data_name());
  }

  void close_metric() {
    out_ += ']';
    if (instrument_ != Instrument::Gauge) {
      const bool delta = (instrument_ == Instrument::Counter && options_.delta_counters) ||
                         (instrument_ == Instrument::Histogram && options_.delta_histograms);
      append(R"(,"aggregationTemporality":{})", delta ? 1 : 2);
    }
    if (instrument_ == Instrument::Counter) out_ += R"(,"isMonotonic":true)";
    out_ += "}}";
  }

  void point(const Batch& batch, const Point& point) {
    comma();
    out_ += '{';
    put_attributes(*point.attributes);
    if (point.start_ns != 0 && instrument_ != Instrument::Gauge) field("startTimeUnixNano", point.start_ns);
    field("timeUnixNano", point.time_ns);
    if (point.no_recorded_value) out_ += R"(,"flags":1)";
    if (instrument_ == Instrument::Histogram) {
      put_histogram(point, std::span(batch.buckets).subspan(point.bucket_begin, point.bucket_length));
    } else if (point.no_recorded_value) {
      // the flag says it all
    } else if (point.metric->integer) {
      comma();
      append(R"("asInt":"{}")", point.integer);
    } else {
      comma();
      out_ += R"("asDouble":)";
      put_double(point.real);
    }
    out_ += '}';
  }

 private:
  template <typename... Args>
  void append(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void comma() {
    if (out_.back() != '[' && out_.back() != '{') out_ += ',';
  }

  void field(std::string_view name, uint64_t value) {
    comma();
    append(R"("{}":"{}")", name, value);
  }

  std::string_view data_name() const {
    switch (instrument_) {
      case Instrument::Gauge: return "gauge";
      case Instrument::Histogram:
        return options_.histograms == OtlpHistograms::Explicit ? "histogram" : "exponentialHistogram";
      default: return "sum";
    }
  }

  void put_double(double value) {
    if (std::isnan(value)) {
      out_ += R"("NaN")";
    } else if (std::isinf(value)) {
      out_ += value > 0 ? R"("Infinity")" : R"("-Infinity")";
    } else {
      append("{}", value);
    }
  }

  void open_attributes() { out_ += R"("attributes":[)"; }

  void put_attribute(const Attribute& attribute) {
    comma();
    out_ += R"({"key":)";
    append_json_string(out_, attribute.key);
    if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      out_ += R"(,"value":{"stringValue":)";
      append_json_string(out_, *text);
      out_ += "}}";
    } else if (const auto* number = std::get_if<int64_t>(&attribute.value)) {
      append(R"(,"value":{{"intValue":"{}"}}}})", *number);
    } else {
      append(R"(,"value":{{"boolValue":{}}}}})", std::get<bool>(attribute.value));
    }
  }

  void put_attributes(const AttributeSet& own) {
    const bool promote = options_.promote && !resource_->promoted.empty();
    if (own.empty() && !promote) return;
    open_attributes();
    for (const Attribute& attribute : own) put_attribute(attribute);
    if (promote) {
      for (const Attribute& attribute : resource_->promoted) {
        bool taken = false;
        for (const Attribute& mine : own) taken = taken || mine.key == attribute.key;
        if (!taken) put_attribute(attribute);
      }
    }
    out_ += ']';
  }

  template <typename Values>
  void put_counts(std::string_view name, const Values& values) {
    comma();
    append(R"("{}":[)", name);
    for (uint64_t value : values) {
      comma();
      append(R"("{}")", value);
    }
    out_ += ']';
  }

  void put_histogram(const Point& point, std::span<const uint64_t> counts) {
    field("count", point.count);
    out_ += R"(,"sum":)";
    put_double(point.real);
    if (options_.histograms == OtlpHistograms::Explicit) {
      put_counts("bucketCounts", explicit_counts(point.bucket_offset, counts));
      out_ += R"(,"explicitBounds":[)";
      for (double bound : kExplicitBounds) {
        comma();
        put_double(bound);
      }
      out_ += ']';
      return;
    }
    const auto [zero, offset, positive] = without_zero(point.bucket_offset, counts);
    append(R"(,"scale":{},"positive":{{"offset":{})", kHistogramScale, offset);
    if (!positive.empty()) put_counts("bucketCounts", positive);
    out_ += '}';
    if (!zero) return;
    field("zeroCount", zero);
    out_ += R"(,"zeroThreshold":)";
    put_double(kZeroThreshold);
  }

  const EncodeOptions& options_;
  std::string out_;
  const Resource* resource_ = nullptr;
  Instrument instrument_ = Instrument::Counter;
};

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  if (!is_utf8(text)) return append_json_string(out, made_utf8(text));
  out += '"';
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(byte));
    } else {
      out += c;
    }
  }
  out += '"';
}

EncodedRequest encode_otlp_json(const EncodeOptions& options, const Batch& batch, BatchCursor& at, uint64_t max_bytes) {
  JsonWriter writer(options);
  EncodedRequest request;
  request.points = write_points(writer, batch, at, max_bytes);
  if (request.points > 0) request.bytes = writer.take();
  return request;
}

}  // namespace sonde
