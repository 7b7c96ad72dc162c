// SPDX-License-Identifier: Apache-2.0
#include <spdlog/fmt/fmt.h>

#include <iterator>

#include "agent/export/otlp_encoder.h"
#include "agent/export/otlp_json.h"
#include "agent/export/otlp_spans.h"
#include "agent/export/span_walk.h"
#include "agent/pipeline/resource.h"

namespace sonde {
namespace {

class Writer {
 public:
  void open_resource(const Resource* resource) {
    comma();
    out_ += R"({"resource":{"attributes":[)";
    if (resource) {
      for (const Attribute& attribute : resource->attributes) {
        if (const auto* text = std::get_if<std::string>(&attribute.value)) {
          put(attribute.key, std::string_view(*text));
        } else if (const auto* integer = std::get_if<int64_t>(&attribute.value)) {
          put(attribute.key, *integer);
        } else {
          put(attribute.key, std::get<bool>(attribute.value));
        }
      }
    }
    append(R"(]}},"scopeSpans":[{{"scope":{{"name":"{}","version":"{}"}},"spans":[)", kScopeName, SONDE_VERSION);
  }

  void close_resource() { append(R"(],"schemaUrl":"{0}"}}],"schemaUrl":"{0}"}})", kSchemaUrl); }

  void span(const Span& span) {
    comma();
    append(R"({{"traceId":"{:02x}","spanId":"{:02x}","name":)", fmt::join(span.trace_id, ""), fmt::join(span.span_id, ""));
    append_json_string(out_, span_name(span));
    append(R"(,"kind":1,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[)", span.start_unix_ns,
           span.end_unix_ns);
    for_each_span_attribute(span, [&](std::string_view key, auto value) { put(key, value); });
    append(R"(],"status":{{{}}}}})", span_failed(span) ? R"("code":2)" : "");
  }

  std::string take() { return R"({"resourceSpans":[)" + std::move(out_) + "]}"; }

 private:
  template <typename... Args>
  void append(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void comma() {
    if (!out_.empty() && out_.back() != '[') out_ += ',';
  }

  void value(std::string_view text) {
    out_ += R"("stringValue":)";
    append_json_string(out_, text.size() > kMaxSpanAttributeBytes ? clean_text(text, kMaxSpanAttributeBytes) : text);
  }
  void value(int64_t integer) { append(R"("intValue":"{}")", integer); }
  void value(double real) { append(R"("doubleValue":{})", real); }
  void value(bool truth) { append(R"("boolValue":{})", truth); }

  template <typename Value>
  void put(std::string_view key, Value with) {
    comma();
    out_ += R"({"key":)";
    append_json_string(out_, key);
    out_ += R"(,"value":{)";
    value(with);
    out_ += "}}";
  }

  std::string out_;
};

}  // namespace

std::string encode_otlp_spans_json(std::span<const Span* const> spans) {
  Writer writer;
  write_spans(writer, spans);
  return writer.take();
}

}  // namespace sonde
