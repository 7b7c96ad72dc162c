// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_exporter.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "agent/base/clock.h"
#include "agent/export/batch_merge.h"
#include "agent/export/otlp_exporter_impl.h"
#include "agent/export/otlp_split.h"

namespace sonde {
namespace {

using Verdict = SendResult::Verdict;

constexpr uint64_t kLogEvery = 60'000'000'000;
// A receiver that refuses one monstrous point as too large must not make all later requests tiny.
constexpr uint64_t kSmallestLearnedLimit = 256 << 10;

EncodeOptions encode_options(const OtlpOptions& options) {
  return {.histograms = options.histograms,
          .delta_counters = options.temporality == OtlpTemporality::Delta,
          .delta_histograms = options.temporality != OtlpTemporality::Cumulative,
          .promote = options.promote,
          .max_bytes = options.max_request_bytes};
}

}  // namespace

Result<std::unique_ptr<Exporter>> make_otlp_exporter(OtlpOptions options, std::shared_ptr<HttpTransport> http) {
  if (auto checked = check_otlp_endpoint(options.endpoint.empty() ? "localhost" : options.endpoint, options.protocol);
      !checked) {
    return checked.error().with("OTLP endpoint");
  }
  std::unique_ptr<OtlpSender> sender;
  if (options.protocol == OtlpProtocol::HttpProtobuf) {
    if (!http) return Error("OTLP over HTTP needs an HTTP client");
    sender = make_http_sender(options, std::move(http));
  } else {
    auto made = make_grpc_sender(options);
    if (!made) return made.error().with("OTLP over gRPC");
    sender = std::move(*made);
  }
  std::unique_ptr<DiskQueue> disk;
  if (!options.queue.directory.empty()) {
    auto opened = DiskQueue::open(options.queue.directory, options.queue.max_disk_bytes);
    if (!opened) return opened.error();
    disk = std::move(*opened);
  }
  return std::unique_ptr<Exporter>(
      std::make_unique<OtlpExporter>(std::move(options), std::move(sender), std::move(disk)));
}

OtlpExporter::OtlpExporter(OtlpOptions options, std::unique_ptr<OtlpSender> sender, std::unique_ptr<DiskQueue> disk)
    : options_(std::move(options)),
      sender_(std::move(sender)),
      converts_(options_.temporality != OtlpTemporality::Cumulative),
      disk_(std::move(disk)),
      encoder_(encode_options(options_)),
      delta_(options_.temporality == OtlpTemporality::Delta, converts_),
      backoff_(options_.retry),
      limit_(options_.max_request_bytes),
      learned_limit_(options_.max_request_bytes) {
  publish();
  thread_ = std::thread([this] { run(); });
}

OtlpExporter::~OtlpExporter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  sender_->cancel();
  thread_.join();
}

std::string OtlpExporter::destination() const {
  if (options_.protocol == OtlpProtocol::HttpProtobuf) return options_.http_url() + " (http/protobuf)";
  return fmt::format("{} (grpc{})", options_.endpoint.empty() ? "http://localhost:4317" : options_.endpoint,
                     options_.uses_tls() ? ", TLS" : "");
}

void OtlpExporter::push(BatchPtr batch) {
  {
    std::lock_guard lock(mutex_);
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
  Lock lock(mutex_);
  hurry_ = true;
  wake_.notify_all();
  idle_.wait_for(lock, std::chrono::nanoseconds(std::min(timeout_ns, kLongest)),
                 [&] { return queue_.empty() && !busy_; });
  hurry_ = false;
}

ExporterStats OtlpExporter::stats() const {
  std::lock_guard lock(mutex_);
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
  while (queue_.size() > 1 && queued_bytes() > options_.queue.max_bytes) merge_oldest();
  if (queued_bytes() <= options_.queue.max_bytes) return;
  Queued& last = queue_.front();
  last.batch = trimmed(last.batch, options_.queue.max_bytes, [&](const Resource& resource, const Point& point) {
    stats_.points_dropped++;
    if (point.no_recorded_value && converts_) unmarked_.push_back(stream_of(resource, point));
  });
  last.bytes = batch_bytes(*last.batch);
}

// Everything below is the thread's.

void OtlpExporter::run() {
  Lock lock(mutex_);
  while (!stop_) {
    busy_ = true;
    if (!take_work(lock)) {
      if (stop_) break;
      publish();
      busy_ = false;
      hurry_ = false;
      idle_.notify_all();
      wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      continue;
    }
    publish();
    if (wait_for_turn(lock)) send_one(lock);
    publish();
  }
  if (disk_) keep_for_restart(lock);
  if (sending_ || !queue_.empty()) spdlog::warn("OTLP export to {}: not all points were sent at the end", destination());
  busy_ = false;
  publish();
  idle_.notify_all();
}

// Makes sure that a request is ready, if there is anything to send.
bool OtlpExporter::take_work(Lock& lock) {
  if (disk_is_due()) to_disk(lock);
  if (!requests_.empty()) return true;
  for (; !stop_; lock.lock()) {
    BatchPtr batch;
    if (!sending_ && !(disk_ && disk_->records() > 0)) {
      if (queue_.empty()) return false;
      batch = std::move(queue_.front().batch);
      queue_.pop_front();
      for (const StreamKey& stream : unmarked_) delta_.forget(stream);
      unmarked_.clear();
    }
    lock.unlock();
    if (!sending_ && !batch) {
      if (auto record = disk_->front()) {
        from_disk_ = true;
        requests_.push_back({std::make_shared<const std::string>(std::move(record->bytes)), record->points});
      }
    } else {
      if (batch) begin(std::move(batch));
      if (!encode_next()) sending_.reset();
    }
    if (!requests_.empty()) {
      lock.lock();
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

bool OtlpExporter::wait_for_turn(Lock& lock) {
  while (!stop_) {
    if (hurry_) {
      hurry_ = false;
      not_before_ns_ = asked_until_ns_;  // our own patience may be cut short, not the receiver's wish
    }
    const uint64_t now = monotonic_ns();
    if (now >= not_before_ns_) return true;
    if (disk_is_due()) return false;
    wake_.wait_for(lock, std::chrono::nanoseconds(not_before_ns_ - now));
  }
  return false;
}

void OtlpExporter::send_one(Lock& lock) {
  const Request request = requests_.front();
  lock.unlock();
  const SendResult result = sender_->send(request.bytes);
  lock.lock();
  if (stop_ && result.verdict == Verdict::Retry) return;
  note(result, request.points);
  switch (result.verdict) {
    case Verdict::Delivered: return settled();
    case Verdict::Rejected: return drop(request.points);
    case Verdict::TooLarge: return part();
    case Verdict::Retry: return retry_later(result);
  }
}

// The receiver answers: whatever fails next fails for the first time.
void OtlpExporter::answered() {
  failing_since_ns_ = 0;
  not_before_ns_ = 0;
  asked_until_ns_ = 0;
  backoff_.reset();
}

// The first request is delivered or given up.
void OtlpExporter::settled() {
  answered();
  requests_.pop_front();
  if (!requests_.empty()) return;
  if (from_disk_) {
    disk_->pop();
  } else {
    if (converts_) delta_.commit(*sending_->source, sending_->done, sending_->next);
    sending_->done = sending_->next;
  }
}

void OtlpExporter::drop(uint32_t points) {
  stats_.points_dropped += points;
  settled();
}

void OtlpExporter::part() {
  const Request request = requests_.front();
  if (request.points <= 1) return drop(request.points);
  answered();
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

void OtlpExporter::retry_later(const SendResult& result) {
  stats_.retries++;
  const uint64_t now = monotonic_ns();
  if (failing_since_ns_ == 0) failing_since_ns_ = now;
  not_before_ns_ = now + backoff_.next(result.retry_after_ns);
  asked_until_ns_ = now + result.retry_after_ns.value_or(0);
  const uint64_t longest = options_.retry.max_elapsed_ns;
  if (!from_disk_ && longest > 0 && not_before_ns_ - failing_since_ns_ > longest) give_back();
}

// What this batch still holds waits with the others; newer points replace its own.
void OtlpExporter::give_back() {
  BatchPtr rest = rest_of(sending_->source, sending_->done);
  requests_.clear();
  sending_.reset();
  failing_since_ns_ = 0;
  queue_.push_front({rest, batch_bytes(*rest)});
  if (queue_.size() > 1) {
    merge_oldest();
    shrink_queue();
  }
}

bool OtlpExporter::disk_is_due() const {
  return disk_ && !sending_ && !queue_.empty() && monotonic_ns() >= disk_retry_ns_;
}

void OtlpExporter::to_disk(Lock& lock) {
  const bool from_disk = from_disk_;
  while (disk_is_due()) {
    Sending sending;
    sending.source = std::move(queue_.front().batch);
    queue_.pop_front();
    for (const StreamKey& stream : unmarked_) delta_.forget(stream);
    unmarked_.clear();
    lock.unlock();
    sending.batch = converts_ ? delta_.convert(*sending.source) : sending.source;
    const Result<void> written = write_batch(sending);
    lock.lock();
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
void OtlpExporter::keep_for_restart(Lock& lock) {
  if (sending_) give_back();
  disk_retry_ns_ = 0;
  to_disk(lock);
}

void OtlpExporter::note(const SendResult& result, uint32_t points) {
  const bool delivered = result.verdict == Verdict::Delivered;
  stats_.bytes_sent += result.sent_bytes;
  if (delivered) {
    const uint64_t rejected = std::min<uint64_t>(result.rejected_points, points);
    stats_.points_sent += points - rejected;
    stats_.points_rejected += rejected;
    stats_.last_error.clear();
    if (rejected > 0) {
      stats_.failures["partial_success"]++;
      stats_.last_error = fmt::format("the receiver refused {} of {} points: {}", rejected, points, result.message);
    }
  } else {
    stats_.failures[result.code]++;
    stats_.last_error = result.message;
  }
  const bool warns = !delivered || !result.message.empty();
  const uint64_t now = monotonic_ns();
  if (delivered && failing_) spdlog::info("OTLP export to {} works again", destination());
  if (warns && (failing_ == delivered || now - last_log_ns_ >= kLogEvery)) {
    last_log_ns_ = now;
    spdlog::warn("OTLP export to {}: {}{}", destination(), delivered ? result.message : stats_.last_error,
                 result.verdict == Verdict::Retry ? "; trying again" : "");
  }
  failing_ = !delivered;
}

void OtlpExporter::publish() {
  stats_.queued_batches = sending_ ? 1 : 0;
  stats_.queued_bytes = 0;
  for (const Request& request : requests_) stats_.queued_bytes += request.bytes->size();
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
