// SPDX-License-Identifier: Apache-2.0
// Operations that are recorded as spans, with their words in policies and attributes and the names of their spans.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sonde {

// Numbered as in enum sonde_span_operation (bpf/include/sonde/spans.h).
enum class SpanOperation : uint8_t {
  Read,
  Write,
  Fsync,
  Open,
  Rename,
  Unlink,
  Connect,
  Accept,
  Send,
  DnsLookup,
  BlockIO,
  CpuThrottle,
  PageFault,
  DirectReclaim,
  LockWait,
  RunQueueWait,
  OomKill,
  Receive,
  FutexWait,
  Process,
  Function,
};
inline constexpr unsigned kSpanOperations = 21;

// As written in a policy and in sonde.operation: "Fsync".
std::string_view word_of(SpanOperation operation);
// The name of its spans, as far as the operation gives it: "fsync".
std::string_view name_of(SpanOperation operation);
std::optional<SpanOperation> span_operation(std::string_view word);

}  // namespace sonde
