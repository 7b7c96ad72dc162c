// SPDX-License-Identifier: Apache-2.0
// Spans that wait for an exporter, bounded in number and bytes. The oldest are dropped for lack of room: what happens now tells
// more than what happened before an outage. Not thread-safe: guarded by the exporter's lock.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "agent/pipeline/span.h"

namespace sonde {

using SpanBatchPtr = std::shared_ptr<const SpanBatch>;

struct SpanQueueLimits {
  uint64_t max_spans = 2048;  // as OTEL_BSP_MAX_QUEUE_SIZE
  uint64_t max_bytes = 4ULL << 20;
  uint32_t max_request_spans = 512;  // as OTEL_BSP_MAX_EXPORT_BATCH_SIZE
};

// Memory of a batch, with its strings and without its Resources, which are shared with the pipeline.
uint64_t span_memory(const Span& span);
uint64_t span_memory(const SpanBatch& batch);

// Spans taken out of a queue, with what keeps them alive.
struct TakenSpans {
  std::vector<SpanBatchPtr> batches;
  std::vector<const Span*> spans;
};

class SpanQueue {
 public:
  explicit SpanQueue(const SpanQueueLimits& limits) : limits_(limits) {}

  // Of a batch that is larger than the whole queue, the newest spans as a copy; else the batch itself. `bytes` is set to its
  // memory, `dropped` to what was left out. Needs no lock, so that it delays nobody.
  static SpanBatchPtr fitting(const SpanQueueLimits& limits, SpanBatchPtr batch, uint64_t& bytes, uint64_t& dropped);
  // Takes what fitting() returned; returns how many older spans were dropped.
  uint64_t push(SpanBatchPtr batch, uint64_t bytes);
  // The oldest, at most `most`, with spans of one Resource next to each other.
  TakenSpans take(uint64_t most);

  bool empty() const { return entries_.empty(); }
  uint64_t spans() const { return spans_; }
  uint64_t bytes() const { return bytes_; }  // of whole batches: memory is free when the last span of a batch has left

 private:
  struct Entry {
    SpanBatchPtr batch;
    uint64_t bytes = 0;
    std::size_t first = 0;  // those before it have left
    uint64_t left() const { return batch->spans.size() - first; }
  };

  void pop();

  const SpanQueueLimits limits_;
  std::deque<Entry> entries_;
  uint64_t spans_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace sonde
