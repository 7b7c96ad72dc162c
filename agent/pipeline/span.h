// SPDX-License-Identifier: Apache-2.0
// Spans: single operations that took long or failed, ready to be encoded. A batch is immutable once handed over, and shared
// by all sinks. Names, attributes and limits: docs/ops/traces.md.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/module/span_operation.h"
#include "agent/pipeline/batch.h"

namespace sonde {

// What an operation does not have is empty or 0. Texts of at most a few hundred bytes; comms may hold anything but a zero.
struct Span {
  using Operation = SpanOperation;

  Operation operation = Operation::Read;
  uint64_t start_unix_ns = 0;  // CLOCK_REALTIME as it was set when the span was read; end - start is the true duration
  uint64_t end_unix_ns = 0;
  uint32_t slot = 0;
  uint32_t pid = 0;  // in the first PID namespace; 0: not known (a timer or an interrupt did it)
  uint32_t tid = 0;
  std::string comm;        // of the thread
  std::string executable;  // of the process: the comm of its first thread
  int error = 0;           // errno; -1: it failed without one
  std::string error_type;  // empty: it succeeded; a name of an errno, an outcome of a DNS lookup, _OTHER
  double threshold = 0;    // seconds
  uint64_t suppressed = 0;
  uint64_t bytes = 0;
  std::string device;     // "sda", or "8:0" if it has no name
  std::string direction;  // of block I/O: read, write, discard, flush
  std::string transport;  // tcp, udp
  std::string peer_address;
  uint16_t peer_port = 0;
  std::string dns_type;  // A, AAAA, …
  std::string lock_kind;
  std::string oom_scope;  // memcg, global
  std::string function_name;
  std::string policy;  // whose threshold it exceeded
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> span_id{};
  ResourcePtr resource;  // the same object for all spans of a container, until something of it changes
};

// "fsync", "block read", "function wal_flush".
std::string span_name(const Span& span);

struct SpanBatch {
  std::vector<Span> spans;
};

class SpanSink {
 public:
  virtual ~SpanSink() = default;
  // Called on the agent's loop: must not block.
  virtual void consume(std::shared_ptr<const SpanBatch> batch) = 0;
};

}  // namespace sonde
