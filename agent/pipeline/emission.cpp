// SPDX-License-Identifier: Apache-2.0
// Which streams are sent when.
#include <algorithm>
#include <utility>

#include "agent/pipeline/aggregator_impl.h"
#include "agent/pipeline/self_metrics.h"

namespace sonde {
namespace {

uint64_t node_period(const AggregatorOptions& options) { return options.node_period_ms * uint64_t{1'000'000}; }

}  // namespace

bool Aggregator::Impl::is_due(const Stream& stream, uint64_t boot_ns) const {
  const uint64_t period = stream.decision ? stream.period_ns() : node_period(options_);
  return table_.period_index(boot_ns, period) > table_.period_index(stream.sent_boot_ns, period);
}

uint64_t Aggregator::Impl::next_due(uint64_t boot_ns) const {
  const auto boundary = [&](uint64_t period) {
    if (period == 0) return UINT64_MAX;
    const uint64_t phase = options_.phase_ns % period;
    return boot_ns < phase ? phase : phase + ((boot_ns - phase) / period + 1) * period;
  };
  uint64_t next = boundary(node_period(options_));
  for (const auto& stream : table_.streams()) next = std::min(next, boundary(stream->period_ns()));
  return next;
}

bool Aggregator::Impl::sends(const Stream& stream, Now now, bool all) const {
  return stream.state == StreamState::Ending ||
         (stream.state == StreamState::Live && (all || is_due(stream, now.boot_ns)));
}

std::shared_ptr<Batch> Aggregator::Impl::empty_batch(Now now, bool all) {
  if (early_) return std::exchange(early_, nullptr);
  std::size_t streams = 1, points = 0;
  for (const auto& stream : table_.streams()) {
    if (!sends(*stream, now, all)) continue;
    ++streams;
    points += stream->series;
  }
  if (points == 0) return batches_.take(0, 0, 0);
  return batches_.take(streams, points + unattributed_.series + node_.series, last_buckets_ + last_buckets_ / 16);
}

BatchPtr Aggregator::Impl::emit(Now now, bool all) {
  const std::shared_ptr<Batch> batch = empty_batch(now, all);
  batch->time_ns = now.real_ns;
  BatchWriter writer(catalog_, *batch, now);
  send_streams(writer, now, all);
  emit_node(writer, *batch, now, all);
  publish_stats();
  if (batch->points.empty()) return nullptr;
  last_buckets_ = batch->buckets.size();
  return batch;
}

// In the order in which they began: a stream that follows another under one name begins after its end.
void Aggregator::Impl::send_streams(BatchWriter& writer, Now now, bool all) {
  for (auto& stream : table_.streams()) emit_stream(writer, *stream, now, all);
  for (auto& stream : table_.streams()) {
    if (stream->done) leave_books(*stream);
  }
  table_.sweep(now);
}

void Aggregator::Impl::emit_stream(BatchWriter& writer, Stream& stream, Now now, bool all) {
  if (stream.state == StreamState::Parked) return;
  const bool values = sends(stream, now, all);
  if (!values && !stream.marks) return;
  if (!stream.emitted) table_.settle_start(stream);
  writer.begin(stream.resource);
  const auto [gone, parked, forgotten] = writer.write(stream, values, stream.period_ns());
  series_ -= gone + parked;
  parked_ += parked;
  parked_ -= forgotten;
  if (values) writer.write_ratios(stream, true);
  writer.end();
  if (!values) return;
  stream.sent_boot_ns = now.boot_ns;
  if (stream.state != StreamState::Ending) return;
  writer.begin(stream.resource);
  writer.write_marks(stream);
  writer.write_ratios(stream, false);
  writer.end();
  stream.last_time_ns += kPointStep;
  table_.close(stream, now);
  if (!stream.done) park(stream);
}

// One Resource for the node's metrics, for what could not be attributed and for the agent itself: no metric is in two of them.
void Aggregator::Impl::emit_node(BatchWriter& writer, Batch& batch, Now now, bool all) {
  if (!all && !is_due(node_, now.boot_ns)) return;
  node_.sent_boot_ns = now.boot_ns;
  writer.begin(node_.resource);
  writer.write(unattributed_, true, node_period(options_));
  const auto [gone, parked, forgotten] = writer.write(node_, true, node_period(options_));
  series_ -= gone + parked;
  parked_ += parked;
  parked_ -= forgotten;
  if (self_) self_->append(batch, now);
  writer.end();
}

}  // namespace sonde
