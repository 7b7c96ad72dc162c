// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_exporter.h"

#include <algorithm>
#include <chrono>

#include "agent/base/clock.h"
#include "agent/base/mutex.h"
#include "agent/export/batch_merge.h"
#include "agent/export/otlp_exporter_impl.h"

namespace sonde {
namespace {

EncodeOptions encode_options(const OtlpOptions& options) {
  return {.histograms = options.histograms,
          .delta_counters = options.temporality == OtlpTemporality::Delta,
          .delta_histograms = options.temporality != OtlpTemporality::Cumulative,
          .promote = options.promote,
          .max_bytes = options.max_request_bytes};
}

}  // namespace

Result<std::unique_ptr<Exporter>> make_otlp_exporter(OtlpOptions options, std::shared_ptr<HttpTransport> http) {
  auto sender = make_otlp_sender(options, OtlpSignal::Metrics, std::move(http));
  if (!sender) return sender.error();
  std::unique_ptr<DiskQueue> disk;
  if (!options.queue.directory.empty()) {
    // In use: the agent that this one replaces has it still. The thread asks again, and until then memory serves.
    bool in_use = false;
    auto opened = DiskQueue::open(options.queue.directory, options.queue.max_disk_bytes, &in_use);
    if (!opened && !in_use) return opened.error();
    if (opened) disk = std::move(*opened);
  }
  return std::unique_ptr<Exporter>(
      std::make_unique<OtlpExporter>(std::move(options), std::move(*sender), std::move(disk)));
}

OtlpExporter::OtlpExporter(OtlpOptions options, std::unique_ptr<OtlpSender> sender, std::unique_ptr<DiskQueue> disk)
    : options_(std::move(options)),
      sender_(std::move(sender)),
      converts_(options_.temporality != OtlpTemporality::Cumulative),
      attempts_(options_.retry, "OTLP export"),
      disk_(std::move(disk)),
      encoder_(encode_options(options_)),
      delta_(options_.temporality == OtlpTemporality::Delta, converts_),
      limit_(options_.max_request_bytes),
      learned_limit_(options_.max_request_bytes) {
  waits_for_disk_ = !disk_ && !options_.queue.directory.empty();
  publish();
  thread_ = std::thread([this] { run(); });
}

OtlpExporter::~OtlpExporter() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  sender_->cancel();
  thread_.join();
}

std::string OtlpExporter::destination() const { return otlp_destination(options_, OtlpSignal::Metrics); }

void OtlpExporter::push(BatchPtr batch) {
  {
    const MutexLock lock(mutex_);
    stats_.batches++;
    if (batch->points.empty()) return;
    const uint64_t bytes = batch_bytes(*batch);
    queue_.push_back({std::move(batch), bytes});
    if (queue_.size() > 1) shrink_queue();
  }
  wake_.notify_all();
}

void OtlpExporter::flush(uint64_t timeout_ns) {
  constexpr uint64_t kLongest = 3'600'000'000'000;
  const uint64_t wait = std::min(timeout_ns, kLongest);
  const uint64_t begin = monotonic_ns();
  const MutexLock lock(mutex_);
  hurry_ = flushing_ = true;
  wake_.notify_all();
  idle_.wait_for(mutex_, std::chrono::nanoseconds(wait), [&]() SONDE_REQUIRES(mutex_) {
    return (queue_.empty() && !busy_) || (!hurry_ && !attempts_.due_before(begin + wait / 2, begin + wait));
  });
  hurry_ = flushing_ = false;
}

// For what waits behind the requests on their way; those on disk are bounded there.
uint64_t OtlpExporter::room() const {
  return options_.queue.max_bytes - std::min(options_.queue.max_bytes, on_the_way_bytes_);
}

ExporterStats OtlpExporter::stats() const {
  const MutexLock lock(mutex_);
  ExporterStats stats = stats_;
  stats.queued_batches += queue_.size();
  stats.queued_bytes += queued_bytes();
  return stats;
}

uint64_t OtlpExporter::queued_bytes() const {
  uint64_t bytes = 0;
  for (const Queued& queued : queue_) bytes += queued.bytes;
  return bytes;
}

void OtlpExporter::merge_oldest() {
  MergedBatch merged = merge_batches(queue_[0].batch, queue_[1].batch);
  stats_.points_superseded += merged.superseded;
  queue_.pop_front();
  queue_.front() = {merged.batch, batch_bytes(*merged.batch)};
}

void OtlpExporter::shrink_queue() {
  while (queue_.size() > std::max(1U, options_.queue.max_batches)) merge_oldest();
  while (queue_.size() > 1 && queued_bytes() > room()) merge_oldest();
  if (queued_bytes() <= room()) return;
  Queued& last = queue_.front();
  last.batch = trimmed(last.batch, room(), [this](const Resource& resource, const Point& point) SONDE_REQUIRES(mutex_) {
    stats_.points_dropped++;
    if (point.no_recorded_value && converts_) unmarked_.push_back(stream_of(resource, point));
  });
  last.bytes = batch_bytes(*last.batch);
}

}  // namespace sonde
