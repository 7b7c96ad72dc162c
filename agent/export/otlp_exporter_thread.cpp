// SPDX-License-Identifier: Apache-2.0
// The sending thread. Its lock is free while it encodes, writes to disk or sends.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "agent/base/clock.h"
#include "agent/export/batch_merge.h"
#include "agent/export/otlp_exporter_impl.h"
#include "agent/export/otlp_split.h"

namespace sonde {
namespace {

using Verdict = SendResult::Verdict;

// A receiver that refuses one monstrous point as too large must not make all later requests tiny.
constexpr uint64_t kSmallestLearnedLimit = 256 << 10;
constexpr uint64_t kDiskAgain = 1'000'000'000;

// To find one bad Resource of n takes two requests for each halving.
uint32_t halves_of(uint32_t resources) {
  return resources < 2 ? 0 : 2 * static_cast<uint32_t>(std::bit_width(resources - 1));
}

}  // namespace

void OtlpExporter::run() {
  const MutexLock lock(mutex_);
  while (!stop_) {
    busy_ = true;
    if (!take_work()) {
      if (stop_) break;
      publish();
      busy_ = false;
      hurry_ = false;
      idle_.notify_all();
      wake_.wait(mutex_, [this]() SONDE_REQUIRES(mutex_) { return stop_ || !queue_.empty(); });
      continue;
    }
    publish();
    if (wait_for_turn()) send_one();
    publish();
  }
  if (disk_) keep_for_restart();
  if (sending_ || !queue_.empty())
    spdlog::warn("OTLP export to {}: not all points were sent before the exit", destination());
  busy_ = false;
  publish();
  idle_.notify_all();
}

// Makes sure that a request is ready, if there is anything to send.
bool OtlpExporter::take_work() {
  if (waits_for_disk_) look_for_disk();
  if (disk_is_due()) to_disk();
  if (!requests_.empty()) return true;
  for (; !stop_; mutex_.lock()) {
    BatchPtr batch;
    if (!sending_ && !(disk_ && disk_->records() > 0)) {
      if (queue_.empty()) return false;
      batch = std::move(queue_.front().batch);
      queue_.pop_front();
      for (const StreamKey& stream : unmarked_) delta_.forget(stream);
      unmarked_.clear();
    }
    mutex_.unlock();
    if (!sending_ && !batch) {
      if (auto record = disk_->front()) {
        from_disk_ = true;
        halves_left_ = halves_of(count_resources(record->bytes));
        requests_.push_back({std::make_shared<const std::string>(std::move(record->bytes)), record->points});
      }
    } else {
      if (batch) begin(std::move(batch));
      if (!encode_next()) sending_.reset();
    }
    if (!requests_.empty()) {
      mutex_.lock();
      return true;
    }
  }
  return false;
}

void OtlpExporter::begin(BatchPtr batch) {
  sending_.emplace();
  sending_->source = batch;
  sending_->batch = converts_ ? delta_.convert(*batch) : std::move(batch);
  from_disk_ = false;
  limit_ = learned_limit_;
  halves_left_ = halves_of(static_cast<uint32_t>(sending_->batch->resources.size()));
}

// The next request of the batch; false if it is done.
bool OtlpExporter::encode_next() {
  sending_->next = sending_->done;
  EncodedRequest encoded = encoder_.encode(*sending_->batch, sending_->next, limit_);
  if (encoded.points > 0) {
    requests_.push_back({std::make_shared<const std::string>(std::move(encoded.bytes)), encoded.points});
    return true;
  }
  if (converts_) delta_.commit(*sending_->source, sending_->done, sending_->next);
  return false;
}

bool OtlpExporter::wait_for_turn() {
  while (!stop_) {
    if (hurry_) {
      hurry_ = false;
      attempts_.hurry();
    }
    const uint64_t now = monotonic_ns();
    if (now >= attempts_.not_before_ns()) return true;
    if (disk_is_due()) return false;
    wake_.wait_for(mutex_, std::chrono::nanoseconds(attempts_.not_before_ns() - now));
  }
  return false;
}

void OtlpExporter::send_one() {
  const Request request = requests_.front();
  mutex_.unlock();
  const SendResult result = sender_->send(request.bytes);
  mutex_.lock();
  if (stop_ && result.verdict == Verdict::Retry) return;
  note(result, request.points);
  switch (result.verdict) {
    case Verdict::Delivered: return settled();
    case Verdict::Rejected: return drop(request.points);
    case Verdict::Refused: return halve();
    case Verdict::TooLarge: return part();
    case Verdict::Retry: return retry_later(result);
  }
}

// The first request is delivered or given up.
void OtlpExporter::settled() {
  attempts_.answered();
  const uint32_t points = requests_.front().points;
  requests_.pop_front();
  if (from_disk_) {
    if (requests_.empty()) disk_->pop();
    return;
  }
  // Of a request in parts the first is done, whatever becomes of the others.
  const BatchCursor done = requests_.empty() ? sending_->next : behind(*sending_->batch, sending_->done, points);
  if (converts_) delta_.commit(*sending_->source, sending_->done, done);
  sending_->done = done;
}

void OtlpExporter::drop(uint32_t points) {
  stats_.points_dropped += points;
  settled();
}

void OtlpExporter::part() {
  const Request request = requests_.front();
  if (request.points <= 1) return drop(request.points);
  attempts_.answered();
  if (from_disk_) {
    std::vector<EncodedRequest> halves = split_request(*request.bytes);
    if (halves.empty()) return drop(request.points);
    requests_.pop_front();
    for (auto half = halves.rbegin(); half != halves.rend(); ++half) {
      requests_.push_front({std::make_shared<const std::string>(std::move(half->bytes)), half->points});
    }
    return;
  }
  limit_ = request.bytes->size() / 2;
  learned_limit_ = std::min(learned_limit_, std::max(limit_, kSmallestLearnedLimit));
  requests_.clear();
  encode_next();
}

// Prometheus refuses all of a request for one bad sample. Halving finds the one Resource that is to blame, and the others
// arrive; with several bad ones what is allowed for a batch runs out, and the rest is given up as before.
void OtlpExporter::halve() {
  const Request request = requests_.front();
  std::vector<EncodedRequest> halves;
  if (halves_left_ >= 2) halves = split_resources(*request.bytes);
  if (halves.empty()) return drop(request.points);
  attempts_.answered();
  halves_left_ -= 2;
  stats_.halved++;
  requests_.pop_front();
  for (auto half = halves.rbegin(); half != halves.rend(); ++half) {
    requests_.push_front({std::make_shared<const std::string>(std::move(half->bytes)), half->points});
  }
}

void OtlpExporter::retry_later(const SendResult& result) {
  stats_.retries++;
  attempts_.retry(result, flushing_);
  idle_.notify_all();  // who waits for all to be sent may not want to wait so long
  if (!from_disk_ && attempts_.too_long()) give_back();
}

// What this batch still holds waits with the others; newer points replace its own.
void OtlpExporter::give_back() {
  BatchPtr rest = rest_of(sending_->source, sending_->done);
  requests_.clear();
  sending_.reset();
  attempts_.forget_failures();
  queue_.push_front({rest, batch_bytes(*rest)});
  if (queue_.size() > 1) {
    merge_oldest();
    shrink_queue();
  }
}

void OtlpExporter::look_for_disk() {
  if (monotonic_ns() < disk_retry_ns_) return;
  mutex_.unlock();
  auto opened = DiskQueue::open(options_.queue.directory, options_.queue.max_disk_bytes);
  mutex_.lock();
  disk_retry_ns_ = monotonic_ns() + kDiskAgain;
  if (!opened) {
    stats_.failures["queue_in_use"]++;
    stats_.last_error = opened.error().message();
    return;
  }
  disk_ = std::move(*opened);
  waits_for_disk_ = false;
  disk_retry_ns_ = 0;
}

bool OtlpExporter::disk_is_due() const {
  return disk_ && !sending_ && !queue_.empty() && monotonic_ns() >= disk_retry_ns_;
}

void OtlpExporter::to_disk() {
  const bool from_disk = from_disk_;
  while (disk_is_due()) {
    Sending sending;
    sending.source = std::move(queue_.front().batch);
    queue_.pop_front();
    for (const StreamKey& stream : unmarked_) delta_.forget(stream);
    unmarked_.clear();
    mutex_.unlock();
    sending.batch = converts_ ? delta_.convert(*sending.source) : sending.source;
    const Result<void> written = write_batch(sending);
    mutex_.lock();
    if (written) continue;
    stats_.failures["queue_disk"]++;
    stats_.last_error = written.error().message();
    spdlog::warn("OTLP queue: {}", stats_.last_error);
    disk_retry_ns_ = monotonic_ns() + options_.retry.initial_ns;
    BatchPtr rest = rest_of(sending.source, sending.done);
    queue_.push_front({rest, batch_bytes(*rest)});
    shrink_queue();
  }
  from_disk_ = from_disk;
}

Result<void> OtlpExporter::write_batch(Sending& sending) {
  while (true) {
    sending.next = sending.done;
    const EncodedRequest encoded = encoder_.encode(*sending.batch, sending.next, learned_limit_);
    if (encoded.points > 0) {
      if (auto pushed = disk_->push(encoded.bytes, encoded.points); !pushed) return pushed;
    }
    if (converts_) delta_.commit(*sending.source, sending.done, sending.next);
    sending.done = sending.next;
    if (encoded.points == 0) return {};
  }
}

// The agent stops: what was not sent is found by the next one.
void OtlpExporter::keep_for_restart() {
  if (sending_) give_back();
  disk_retry_ns_ = 0;
  to_disk();
}

void OtlpExporter::note(const SendResult& result, uint32_t points) {
  const bool delivered = result.verdict == Verdict::Delivered;
  stats_.bytes_sent += result.sent_bytes;
  if (delivered) {
    const uint64_t rejected = std::min<uint64_t>(result.rejected, points);
    stats_.points_sent += points - rejected;
    stats_.points_rejected += rejected;
    stats_.last_error.clear();
    if (rejected > 0) {
      stats_.failures["partial_success"]++;
      stats_.last_error = fmt::format("the receiver rejected {} of {} points: {}", rejected, points, result.message);
    }
  } else {
    stats_.failures[result.code]++;
    stats_.last_error = result.message;
  }
  attempts_.log(result, destination(), stats_.last_error);
}

void OtlpExporter::publish() {
  stats_.queued_batches = sending_ ? 1 : 0;
  on_the_way_bytes_ = 0;
  for (const Request& request : requests_) on_the_way_bytes_ += request.bytes->size();
  stats_.queued_bytes = on_the_way_bytes_;
  if (!disk_) return;
  stats_.queued_batches += disk_->records();
  stats_.queued_bytes = disk_->bytes();
  const DiskQueueLosses& losses = disk_->losses();
  stats_.points_dropped += losses.dropped_points - published_losses_.dropped_points;
  stats_.points_dropped += losses.damaged_points - published_losses_.damaged_points;
  if (losses.torn_bytes != published_losses_.torn_bytes) stats_.failures["queue_torn"]++;
  if (losses.damaged_points != published_losses_.damaged_points) stats_.failures["queue_damaged"]++;
  published_losses_ = losses;
}

}  // namespace sonde
