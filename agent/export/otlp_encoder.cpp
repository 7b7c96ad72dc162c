// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_encoder.h"

#include <algorithm>
#include <array>
#include <span>

#include "agent/base/utf8.h"
#include "agent/export/explicit_bounds.h"
#include "agent/export/otlp_wire.h"
#include "agent/export/zero_bucket.h"

namespace sonde {
namespace {

using wire::kBytes;
using wire::kFixed64;
using wire::kVarint;
using wire::tag;

constexpr uint64_t kDelta = 1;
constexpr uint64_t kCumulative = 2;
constexpr uint64_t kNoRecordedValue = 1;
constexpr uint64_t kBeyondLimit = 8192;  // the point that turns out to be one too many

// Field numbers of `attributes` in the three kinds of points and in Resource.
constexpr uint8_t kNumberAttributes = tag(7, kBytes);
constexpr uint8_t kHistogramAttributes = tag(9, kBytes);
constexpr uint8_t kExponentialAttributes = tag(1, kBytes);
constexpr uint8_t kResourceAttributes = tag(1, kBytes);

uint64_t value_size(const Attribute& attribute) {
  if (const auto* text = std::get_if<std::string>(&attribute.value)) return wire::field_size(text->size());
  if (const auto* number = std::get_if<int64_t>(&attribute.value)) {
    return 1 + wire::varint_size(static_cast<uint64_t>(*number));
  }
  return 2;
}

// Sums, gauges and histograms of a batch into one request; see write_points() for the calls.
class MetricsWriter {
 public:
  MetricsWriter(const EncodeOptions& options, uint64_t* repaired) : options_(options), repaired_(repaired) {}

  void reserve(uint64_t bytes) { out_.reserve(bytes); }
  uint64_t size() const { return out_.size(); }
  void truncate(uint64_t size) { out_.truncate(size); }
  // Lengths that grow beyond two bytes at five levels, temporality and monotonicity, the schema's URL.
  static constexpr uint64_t closing_bytes() { return 32 + kSchemaUrl.size(); }
  std::string take() { return out_.take(); }

  void open_resource(const Resource& resource) {
    resource_ = &resource;
    resource_start_ = out_.open(tag(1, kBytes));  // ExportMetricsServiceRequest.resource_metrics
    const uint64_t start = out_.open(tag(1, kBytes));
    for (const Attribute& attribute : resource.attributes) put_attribute(out_, kResourceAttributes, attribute);
    out_.close(start);
    scope_start_ = out_.open(tag(2, kBytes));
    const uint64_t scope = out_.open(tag(1, kBytes));
    out_.string(tag(1, kBytes), kScopeName);
    out_.string(tag(2, kBytes), SONDE_VERSION);
    out_.close(scope);
  }

  void close_resource() {
    out_.close(scope_start_);
    out_.string(tag(3, kBytes), kSchemaUrl);
    out_.close(resource_start_);
  }

  void open_metric(const MetricSpec& metric) {
    metric_start_ = out_.open(tag(2, kBytes));
    out_.string(tag(1, kBytes), metric.name);
    if (!metric.description.empty()) out_.string(tag(2, kBytes), metric.description);
    if (!metric.unit.empty()) out_.string(tag(3, kBytes), metric.unit);
    instrument_ = metric.instrument;
    uint32_t field = 7;
    if (instrument_ == Instrument::Gauge) field = 5;
    if (instrument_ == Instrument::Histogram) field = options_.histograms == OtlpHistograms::Explicit ? 9 : 10;
    data_start_ = out_.open(tag(field, kBytes));
  }

  void close_metric() {
    if (instrument_ != Instrument::Gauge) {
      const bool delta = (instrument_ == Instrument::Counter && options_.delta_counters) ||
                         (instrument_ == Instrument::Histogram && options_.delta_histograms);
      out_.byte(tag(2, kVarint));
      out_.byte(static_cast<uint8_t>(delta ? kDelta : kCumulative));
    }
    if (instrument_ == Instrument::Counter) {
      out_.byte(tag(3, kVarint));
      out_.byte(1);  // is_monotonic
    }
    out_.close(data_start_);
    out_.close(metric_start_);
  }

  void point(const Batch& batch, const Point& point) {
    if (instrument_ != Instrument::Histogram) return number_point(point);
    const std::span<const uint64_t> counts =
        point.no_recorded_value ? std::span<const uint64_t>()
                                : std::span(batch.buckets).subspan(point.bucket_begin, point.bucket_length);
    if (options_.histograms == OtlpHistograms::Explicit) return explicit_point(point, counts);
    exponential_point(point, counts);
  }

 private:
  std::string_view checked(std::string_view text, std::string& repaired) {
    if (is_ascii(text) || is_utf8(text)) return text;
    (*repaired_)++;
    repaired = made_utf8(text);
    return repaired;
  }

  void put_attribute(wire::Buffer& out, uint8_t field_tag, const Attribute& attribute) {
    const uint64_t value = value_size(attribute);
    const uint64_t body = wire::field_size(attribute.key.size()) + wire::field_size(value);
    char* p = out.room(body + 16);
    *p++ = static_cast<char>(field_tag);
    p = wire::put_varint(p, body);
    p = wire::put_string(p, tag(1, kBytes), checked(attribute.key, repaired_key_));
    *p++ = static_cast<char>(tag(2, kBytes));
    p = wire::put_varint(p, value);
    if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      p = wire::put_string(p, tag(1, kBytes), checked(*text, repaired_value_));
    } else if (const auto* number = std::get_if<int64_t>(&attribute.value)) {
      *p++ = static_cast<char>(tag(3, kVarint));
      p = wire::put_varint(p, static_cast<uint64_t>(*number));
    } else {
      *p++ = static_cast<char>(tag(2, kVarint));
      *p++ = static_cast<char>(std::get<bool>(attribute.value) ? 1 : 0);
    }
    out.written(p);
  }

  // Few sets of attributes serve many points: each is written once and then copied. Its pointer is the key, and the
  // batch keeps it alive as long as this writer lives.
  const std::string& encoded(const AttributeSet* set, uint8_t field_tag) {
    const auto hash = (reinterpret_cast<uintptr_t>(set) >> 4) * 0x9E3779B97F4A7C15ULL + field_tag;
    Cached& slot = cache_[hash >> 55];
    if (slot.set == set && slot.field_tag == field_tag && slot.promoting == promoting()) return slot.bytes;
    scratch_.truncate(0);
    for (const Attribute& attribute : *set) put_attribute(scratch_, field_tag, attribute);
    if (const Resource* resource = promoting()) {
      for (const Attribute& attribute : resource->promoted) {
        bool taken = false;
        for (const Attribute& own : *set) taken = taken || own.key == attribute.key;
        if (!taken) put_attribute(scratch_, field_tag, attribute);
      }
    }
    slot.set = set;
    slot.promoting = promoting();
    slot.field_tag = field_tag;
    slot.bytes.assign(scratch_.view());
    return slot.bytes;
  }

  const Resource* promoting() const { return options_.promote ? resource_ : nullptr; }

  // Tag, length, attributes; the rest of the point has `rest` bytes.
  char* begin_point(const Point& point, uint8_t field_tag, uint64_t rest) {
    const std::string& attributes = encoded(point.attributes.get(), field_tag);
    const uint64_t size = attributes.size() + rest;
    char* p = out_.room(size + 11);
    *p++ = static_cast<char>(tag(1, kBytes));  // data_points, in all kinds
    p = wire::put_varint(p, size);
    std::memcpy(p, attributes.data(), attributes.size());
    return p + attributes.size();
  }

  void number_point(const Point& point) {
    const bool start = point.start_ns != 0 && instrument_ != Instrument::Gauge;
    const uint64_t rest = (start ? 9 : 0) + 9 + (point.no_recorded_value ? 2 : 9);
    char* p = begin_point(point, kNumberAttributes, rest);
    if (start) p = wire::put_fixed64(p, tag(2, kFixed64), point.start_ns);
    p = wire::put_fixed64(p, tag(3, kFixed64), point.time_ns);
    if (point.no_recorded_value) {
      p = wire::put_varint(p, tag(8, kVarint));
      p = wire::put_varint(p, kNoRecordedValue);
    } else if (point.metric->integer) {
      p = wire::put_fixed64(p, tag(6, kFixed64), static_cast<uint64_t>(point.integer));
    } else {
      p = wire::put_fixed64(p, tag(4, kFixed64), std::bit_cast<uint64_t>(point.real));
    }
    out_.written(p);
  }

  static char* times(char* p, const Point& point) {
    if (point.start_ns != 0) p = wire::put_fixed64(p, tag(2, kFixed64), point.start_ns);
    return wire::put_fixed64(p, tag(3, kFixed64), point.time_ns);
  }

  // The end mark of a histogram is whole: a receiver that makes a series of each bucket ends those it finds in it.
  static char* put_flags(char* p, const Point& point) {
    if (!point.no_recorded_value) return p;
    *p++ = static_cast<char>(tag(10, kVarint));
    *p++ = kNoRecordedValue;
    return p;
  }

  void exponential_point(const Point& point, std::span<const uint64_t> all) {
    const auto [zero, first, counts] = without_zero(point.bucket_offset, all);
    const uint64_t offset = wire::zigzag(first);
    uint64_t packed = 0;
    for (uint64_t count : counts) packed += wire::varint_size(count);
    // What is zero is left out, as in all of proto3: end marks have neither count nor buckets.
    const uint64_t buckets = (offset ? 1 + wire::varint_size(offset) : 0) + (packed ? wire::field_size(packed) : 0);
    uint64_t rest = (point.start_ns != 0 ? 9 : 0) + 9;
    rest += (point.count ? 9 : 0) + 9 + 2 + wire::field_size(buckets) + (zero ? 9 + 9 : 0);
    rest += point.no_recorded_value ? 2 : 0;
    char* p = times(begin_point(point, kExponentialAttributes, rest), point);
    if (point.count) p = wire::put_fixed64(p, tag(4, kFixed64), point.count);
    p = wire::put_fixed64(p, tag(5, kFixed64), std::bit_cast<uint64_t>(point.real));
    *p++ = static_cast<char>(tag(6, kVarint));
    *p++ = static_cast<char>(wire::zigzag(kHistogramScale));
    if (zero) p = wire::put_fixed64(p, tag(7, kFixed64), zero);
    *p++ = static_cast<char>(tag(8, kBytes));
    p = wire::put_varint(p, buckets);
    if (offset) {
      *p++ = static_cast<char>(tag(1, kVarint));
      p = wire::put_varint(p, offset);
    }
    if (packed) {
      *p++ = static_cast<char>(tag(2, kBytes));
      p = wire::put_varint(p, packed);
      for (uint64_t count : counts) p = wire::put_varint(p, count);
    }
    p = put_flags(p, point);
    if (zero) p = wire::put_fixed64(p, tag(14, kFixed64), std::bit_cast<uint64_t>(kZeroThreshold));
    out_.written(p);
  }

  void explicit_point(const Point& point, std::span<const uint64_t> counts) {
    constexpr uint64_t kCountsSize = (kExplicitBounds.size() + 1) * 8;
    constexpr uint64_t kBoundsSize = kExplicitBounds.size() * 8;
    uint64_t rest = (point.start_ns != 0 ? 9 : 0) + 9;
    rest += (point.count ? 9 : 0) + 9 + wire::field_size(kCountsSize) + wire::field_size(kBoundsSize);
    rest += point.no_recorded_value ? 2 : 0;
    char* p = times(begin_point(point, kHistogramAttributes, rest), point);
    if (point.count) p = wire::put_fixed64(p, tag(4, kFixed64), point.count);
    p = wire::put_fixed64(p, tag(5, kFixed64), std::bit_cast<uint64_t>(point.real));
    const ExplicitCounts buckets = explicit_counts(point.bucket_offset, counts);
    *p++ = static_cast<char>(tag(6, kBytes));
    p = wire::put_varint(p, kCountsSize);
    std::memcpy(p, buckets.data(), kCountsSize);
    p += kCountsSize;
    *p++ = static_cast<char>(tag(7, kBytes));
    p = wire::put_varint(p, kBoundsSize);
    std::memcpy(p, kExplicitBounds.data(), kBoundsSize);
    out_.written(put_flags(p + kBoundsSize, point));
  }

  struct Cached {
    const AttributeSet* set = nullptr;
    const Resource* promoting = nullptr;
    uint8_t field_tag = 0;
    std::string bytes;
  };

  const EncodeOptions& options_;
  uint64_t* repaired_;
  wire::Buffer out_;
  wire::Buffer scratch_;
  std::array<Cached, 1 << 9> cache_{};  // by the upper 9 bits of the hash
  std::string repaired_key_;
  std::string repaired_value_;
  const Resource* resource_ = nullptr;
  Instrument instrument_ = Instrument::Counter;
  uint64_t resource_start_ = 0, scope_start_ = 0, metric_start_ = 0, data_start_ = 0;
};

}  // namespace

EncodedRequest OtlpEncoder::encode(const Batch& batch, BatchCursor& at, uint64_t max_bytes) {
  MetricsWriter writer(options_, &repaired_);
  writer.reserve(std::min(expected_, max_bytes + kBeyondLimit));
  EncodedRequest request;
  request.points = write_points(writer, batch, at, max_bytes);
  if (request.points > 0) request.bytes = writer.take();
  expected_ = request.bytes.size() + request.bytes.size() / 16;
  return request;
}

}  // namespace sonde
