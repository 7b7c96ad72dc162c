// SPDX-License-Identifier: Apache-2.0
#include "agent/export/span_queue.h"

#include <algorithm>
#include <utility>

namespace sonde {
namespace {

const std::size_t kInline = std::string().capacity();  // shorter texts are inside the string itself

}  // namespace

uint64_t span_memory(const Span& span) {
  uint64_t bytes = sizeof(Span);
  for (const std::string* text : {&span.comm, &span.executable, &span.error_type, &span.device, &span.direction, &span.transport,
                                  &span.peer_address, &span.dns_type, &span.lock_kind, &span.oom_scope, &span.function_name,
                                  &span.policy}) {
    if (text->capacity() > kInline) bytes += text->capacity() + 1;
  }
  return bytes;
}

uint64_t span_memory(const SpanBatch& batch) {
  uint64_t bytes = sizeof(SpanBatch);
  for (const Span& span : batch.spans) bytes += span_memory(span);
  return bytes;
}

SpanBatchPtr SpanQueue::fitting(const SpanQueueLimits& limits, SpanBatchPtr batch, uint64_t& bytes,
                                uint64_t& dropped) {
  bytes = span_memory(*batch);
  dropped = 0;
  if (batch->spans.size() <= limits.max_spans && bytes <= limits.max_bytes) return batch;
  bytes = sizeof(SpanBatch);
  std::size_t first = batch->spans.size();
  while (first > 0 && batch->spans.size() - first < limits.max_spans) {
    const uint64_t more = span_memory(batch->spans[first - 1]);
    if (bytes + more > limits.max_bytes) break;
    bytes += more;
    --first;
  }
  dropped = first;
  auto newest = std::make_shared<SpanBatch>();
  newest->spans.assign(batch->spans.begin() + static_cast<std::ptrdiff_t>(first), batch->spans.end());
  return newest;
}

uint64_t SpanQueue::push(SpanBatchPtr batch, uint64_t bytes) {
  if (batch->spans.empty()) return 0;
  uint64_t dropped = 0;
  while (!entries_.empty()) {
    Entry& oldest = entries_.front();
    const uint64_t wanted = spans_ + batch->spans.size();
    const uint64_t excess = wanted - std::min(wanted, limits_.max_spans);
    const bool too_large = bytes_ + bytes > limits_.max_bytes;
    if (excess == 0 && !too_large) break;
    const uint64_t gone = too_large ? oldest.left() : std::min(excess, oldest.left());
    dropped += gone;
    spans_ -= gone;
    oldest.first += gone;
    if (oldest.left() == 0) pop();
  }
  spans_ += batch->spans.size();
  bytes_ += bytes;
  entries_.push_back({std::move(batch), bytes});
  return dropped;
}

void SpanQueue::pop() {
  bytes_ -= entries_.front().bytes;
  entries_.pop_front();
}

TakenSpans SpanQueue::take(uint64_t most) {
  TakenSpans taken;
  while (!entries_.empty() && taken.spans.size() < most) {
    Entry& oldest = entries_.front();
    const uint64_t count = std::min(oldest.left(), most - taken.spans.size());
    for (uint64_t i = 0; i < count; ++i) taken.spans.push_back(&oldest.batch->spans[oldest.first + i]);
    taken.batches.push_back(oldest.batch);
    oldest.first += count;
    spans_ -= count;
    if (oldest.left() == 0) pop();
  }
  std::ranges::stable_sort(taken.spans, std::less<>(), [](const Span* span) { return span->resource.get(); });
  return taken;
}

}  // namespace sonde
