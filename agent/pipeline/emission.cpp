// SPDX-License-Identifier: Apache-2.0
// Which streams are sent when.
#include <algorithm>

#include "agent/pipeline/aggregator_impl.h"
#include "agent/pipeline/self_metrics.h"

namespace sonde {
namespace {

constexpr int kMaxFollowers = 8;

uint64_t node_period(const AggregatorOptions& options) { return options.node_period_ms * uint64_t{1'000'000}; }

}  // namespace

bool Aggregator::Impl::is_due(const Stream& stream, uint64_t boot_ns) const {
  const uint64_t period = stream.decision ? stream.period_ns() : node_period(options_);
  return stream.due || table_.period_index(boot_ns, period) > table_.period_index(stream.sent_boot_ns, period);
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
  return !stream.predecessor && (stream.state == StreamState::Ending ||
                                 (stream.state == StreamState::Live && (all || is_due(stream, now.boot_ns))));
}

std::shared_ptr<Batch> Aggregator::Impl::empty_batch(Now now, bool all) {
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
  const auto waits = [](const auto& stream) { return stream->predecessor || stream->due; };
  // There may be no later emission, so successors follow at once; their times are later.
  for (int i = 0; all && i < kMaxFollowers && std::ranges::any_of(table_.streams(), waits); ++i) {
    send_streams(writer, now, false);
  }
  emit_node(writer, *batch, now, all);
  publish_stats();
  if (batch->points.empty()) return nullptr;
  last_buckets_ = batch->buckets.size();
  return batch;
}

void Aggregator::Impl::send_streams(BatchWriter& writer, Now now, bool all) {
  for (auto& stream : table_.streams()) {
    if (!stream->predecessor) emit_stream(writer, *stream, now, all);
  }
  for (auto& stream : table_.streams()) {
    if (stream->done) series_ -= stream->series;
  }
  table_.sweep();
}

void Aggregator::Impl::emit_stream(BatchWriter& writer, Stream& stream, Now now, bool all) {
  const bool values = sends(stream, now, all);
  writer.begin(stream.resource);
  if (stream.state == StreamState::Marking) {
    writer.write_marks(stream);
    if (!stream.continued) writer.write_ratios(stream, false);
  } else if (values || stream.marks) {
    series_ -= writer.write(stream, values);
    if (values) writer.write_ratios(stream, true);
  }
  writer.end();
  if (values) {
    stream.sent_boot_ns = now.boot_ns;
    stream.due = false;
  }
  if (stream.state == StreamState::Live) return;
  // A successor has the same series, those of processes aside: only they need marks.
  stream.done = stream.state == StreamState::Marking || (stream.continued && stream.groups.size() == 1);
  if (stream.state == StreamState::Ending) table_.close(stream);
  if (!stream.done || !stream.successor) return;
  start_after(*stream.successor, stream);
  if (stream.continued) carry_on(*stream.successor, stream);
}

// One Resource for the node's metrics, for what could not be attributed and for the agent itself: no metric is in two of them.
void Aggregator::Impl::emit_node(BatchWriter& writer, Batch& batch, Now now, bool all) {
  if (!all && !is_due(node_, now.boot_ns)) return;
  node_.sent_boot_ns = now.boot_ns;
  writer.begin(node_.resource);
  writer.write(unattributed_, true);
  series_ -= writer.write(node_, true);
  if (self_) self_->append(batch, now);
  writer.end();
}

}  // namespace sonde
