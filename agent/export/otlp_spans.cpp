// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_spans.h"

#include <bit>

#include "agent/base/utf8.h"
#include "agent/export/otlp_encoder.h"
#include "agent/export/otlp_wire.h"
#include "agent/export/span_walk.h"
#include "agent/pipeline/resource.h"

namespace sonde {
namespace {

using wire::kBytes;
using wire::kFixed64;
using wire::kVarint;
using wire::tag;

constexpr uint8_t kResourceAttributes = tag(1, kBytes);
constexpr uint8_t kSpanAttributes = tag(9, kBytes);
constexpr uint8_t kInternal = 1;
constexpr uint8_t kError = 2;

class Writer {
 public:
  void open_resource(const Resource* resource) {
    resource_start_ = out_.open(tag(1, kBytes));  // ExportTraceServiceRequest.resource_spans
    const uint64_t start = out_.open(tag(1, kBytes));
    if (resource) {
      for (const Attribute& attribute : resource->attributes) put_attribute(attribute);
    }
    out_.close(start);
    scope_start_ = out_.open(tag(2, kBytes));
    const uint64_t scope = out_.open(tag(1, kBytes));
    out_.string(tag(1, kBytes), kScopeName);
    out_.string(tag(2, kBytes), SONDE_VERSION);
    out_.close(scope);
  }

  void close_resource() {
    out_.string(tag(3, kBytes), kSchemaUrl);
    out_.close(scope_start_);
    out_.string(tag(3, kBytes), kSchemaUrl);
    out_.close(resource_start_);
  }

  void span(const Span& span) {
    const uint64_t start = out_.open(tag(2, kBytes));
    out_.string(tag(1, kBytes), {reinterpret_cast<const char*>(span.trace_id.data()), span.trace_id.size()});
    out_.string(tag(2, kBytes), {reinterpret_cast<const char*>(span.span_id.data()), span.span_id.size()});
    out_.string(tag(5, kBytes), checked(span_name(span)));
    number(tag(6, kVarint), kInternal);
    fixed(tag(7, kFixed64), span.start_unix_ns);
    fixed(tag(8, kFixed64), span.end_unix_ns);
    for_each_span_attribute(span, [&](std::string_view key, auto value) { put(kSpanAttributes, key, value); });
    if (span_failed(span)) {
      const uint64_t status = out_.open(tag(15, kBytes));
      number(tag(3, kVarint), kError);
      out_.close(status);
    }
    out_.close(start);
  }

  std::string take() { return out_.take(); }

 private:
  std::string_view checked(std::string_view text) {
    if (is_ascii(text) || is_utf8(text)) return text;
    repaired_ = made_utf8(text);
    return repaired_;
  }

  void number(uint8_t field_tag, uint64_t value) {
    char* p = out_.room(11);
    *p = static_cast<char>(field_tag);
    out_.written(wire::put_varint(p + 1, value));
  }
  void fixed(uint8_t field_tag, uint64_t value) { out_.written(wire::put_fixed64(out_.room(9), field_tag, value)); }

  void value(std::string_view text) { out_.string(tag(1, kBytes), checked(clipped(text))); }
  void value(int64_t integer) { number(tag(3, kVarint), static_cast<uint64_t>(integer)); }
  void value(double real) { fixed(tag(4, kFixed64), std::bit_cast<uint64_t>(real)); }
  void value(bool truth) { number(tag(2, kVarint), truth ? 1 : 0); }

  std::string_view clipped(std::string_view text) {
    if (text.size() <= kMaxSpanAttributeBytes) return text;
    clipped_ = clean_text(text, kMaxSpanAttributeBytes);
    return clipped_;
  }

  template <typename Value>
  void put(uint8_t field_tag, std::string_view key, Value with) {
    const uint64_t start = out_.open(field_tag);
    out_.string(tag(1, kBytes), checked(key));
    const uint64_t inner = out_.open(tag(2, kBytes));
    value(with);
    out_.close(inner);
    out_.close(start);
  }

  void put_attribute(const Attribute& attribute) {
    if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      put(kResourceAttributes, attribute.key, std::string_view(*text));
    } else if (const auto* integer = std::get_if<int64_t>(&attribute.value)) {
      put(kResourceAttributes, attribute.key, *integer);
    } else {
      put(kResourceAttributes, attribute.key, std::get<bool>(attribute.value));
    }
  }

  wire::Buffer out_;
  std::string repaired_, clipped_;
  uint64_t resource_start_ = 0, scope_start_ = 0;
};

}  // namespace

std::string encode_otlp_spans(std::span<const Span* const> spans) {
  Writer writer;
  write_spans(writer, spans);
  return writer.take();
}

}  // namespace sonde
