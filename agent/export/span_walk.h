// SPDX-License-Identifier: Apache-2.0
// What both OTLP forms of spans share: the walk over them and the attributes of each.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "agent/pipeline/span.h"

namespace sonde {

inline constexpr std::size_t kMaxSpanAttributeBytes = 2048;  // of a value; longer ones are cut

inline bool span_failed(const Span& span) { return span.error != 0 || !span.error_type.empty(); }

// Writer: open_resource(const Resource*), which may be null, span(Span), close_resource().
template <typename Writer>
void write_spans(Writer& writer, std::span<const Span* const> spans) {
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const bool first = i == 0 || spans[i]->resource != spans[i - 1]->resource;
    if (first && i > 0) writer.close_resource();
    if (first) writer.open_resource(spans[i]->resource.get());
    writer.span(*spans[i]);
  }
  if (!spans.empty()) writer.close_resource();
}

// Calls put(key, value) with a string_view, an int64_t or a double, in a fixed order. What does not apply is left out.
template <typename Put>
void for_each_span_attribute(const Span& span, Put put) {
  const auto text = [&](std::string_view key, std::string_view value) {
    if (!value.empty()) put(key, value);
  };
  const auto number = [&](std::string_view key, uint64_t value) { put(key, static_cast<int64_t>(value)); };
  text("sonde.operation", word_of(span.operation));
  put(std::string_view("sonde.threshold"), span.threshold);
  text("sonde.policy", span.policy);
  number("sonde.suppressed", span.suppressed);
  if (span.pid != 0) number("process.pid", span.pid);
  text("process.executable.name", span.executable);
  if (span.tid != 0) number("thread.id", span.tid);
  text("thread.name", span.comm);
  if (span_failed(span)) text("error.type", span.error_type.empty() ? "_OTHER" : std::string_view(span.error_type));
  if (span.bytes != 0) number("sonde.io.size", span.bytes);
  text("disk.io.direction", span.direction);
  text("system.device", span.device);
  text("network.transport", span.transport);
  text("network.peer.address", span.peer_address);
  if (span.peer_port != 0) number("network.peer.port", span.peer_port);
  text("dns.question.type", span.dns_type);
  text("sonde.lock.kind", span.lock_kind);
  text("sonde.oom.scope", span.oom_scope);
}

}  // namespace sonde
