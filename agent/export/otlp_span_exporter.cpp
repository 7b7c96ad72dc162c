// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_span_exporter.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <deque>
#include <span>
#include <thread>

#include "agent/base/clock.h"
#include "agent/base/mutex.h"
#include "agent/export/otlp_attempts.h"
#include "agent/export/otlp_sender.h"
#include "agent/export/otlp_spans.h"

namespace sonde {
namespace {

using Verdict = SendResult::Verdict;

class OtlpSpanExporter final : public SpanExporter {
 public:
  OtlpSpanExporter(OtlpOptions options, const SpanQueueLimits& limits, std::unique_ptr<OtlpSender> sender)
      : options_(std::move(options)),
        limits_(limits),
        sender_(std::move(sender)),
        queue_(limits),
        attempts_(options_.retry, "OTLP export of spans"),
        thread_([this] { run(); }) {}

  ~OtlpSpanExporter() override {
    {
      const MutexLock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    sender_->cancel();
    thread_.join();
  }

  std::string_view name() const override { return "otlp_traces"; }
  std::string destination() const override { return otlp_destination(options_, OtlpSignal::Traces); }

  void consume(SpanBatchPtr batch) override {
    uint64_t bytes = 0, left_out = 0;
    batch = SpanQueue::fitting(limits_, std::move(batch), bytes, left_out);
    {
      const MutexLock lock(mutex_);
      stats_.batches++;
      drop("queue_full", left_out + queue_.push(std::move(batch), bytes));
    }
    wake_.notify_all();
  }

  void flush(uint64_t timeout_ns) override {
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

  ExporterStats stats() const override {
    const MutexLock lock(mutex_);
    ExporterStats stats = stats_;
    stats.queued_spans = queue_.spans() + on_the_way_;
    stats.queued_bytes = queue_.bytes() + on_the_way_bytes_;
    return stats;
  }

 private:
  // A part of `taken_` that is one request; encoded when its turn comes.
  struct Request {
    std::span<const Span* const> spans;
    std::shared_ptr<const std::string> bytes;
  };

  void run() {
    const MutexLock lock(mutex_);
    while (!stop_) {
      if (requests_.empty() && queue_.empty()) {
        busy_ = hurry_ = false;
        idle_.notify_all();
        wake_.wait(mutex_, [this]() SONDE_REQUIRES(mutex_) { return stop_ || !queue_.empty(); });
        continue;
      }
      busy_ = true;
      if (requests_.empty()) begin();
      if (!requests_.front().bytes) {
        encode();
      } else if (wait_for_turn()) {
        send();
      }
    }
    uint64_t unsent = queue_.spans();
    for (const Request& request : requests_) unsent += request.spans.size();
    if (unsent > 0) spdlog::warn("OTLP export of spans to {}: {} were not sent before the exit", destination(), unsent);
    drop("exit", unsent);
    busy_ = false;
    idle_.notify_all();
  }

  void begin() SONDE_REQUIRES(mutex_) {
    taken_ = queue_.take(limits_.max_request_spans);
    on_the_way_ = taken_.spans.size();
    requests_.push_back({taken_.spans, nullptr});
    // To find one bad span of n takes two requests for each halving.
    halves_left_ = 2 * static_cast<uint32_t>(std::bit_width(taken_.spans.size() - 1));
  }

  void encode() SONDE_REQUIRES(mutex_) {
    const std::span<const Span* const> spans = requests_.front().spans;
    mutex_.unlock();
    auto bytes = std::make_shared<const std::string>(encode_otlp_spans(spans));
    mutex_.lock();
    if (bytes->size() > limit_ && spans.size() > 1) return halve();
    on_the_way_bytes_ = bytes->size();
    requests_.front().bytes = std::move(bytes);
  }

  bool wait_for_turn() SONDE_REQUIRES(mutex_) {
    while (!stop_) {
      if (hurry_) {
        hurry_ = false;
        attempts_.hurry();
      }
      const uint64_t now = monotonic_ns();
      if (now >= attempts_.not_before_ns()) return true;
      wake_.wait_for(mutex_, std::chrono::nanoseconds(attempts_.not_before_ns() - now));
    }
    return false;
  }

  void send() SONDE_REQUIRES(mutex_) {
    const Request request = requests_.front();
    mutex_.unlock();
    const SendResult result = sender_->send(request.bytes);
    mutex_.lock();
    if (stop_ && result.verdict == Verdict::Retry) return;
    note(result, request.spans.size());
    switch (result.verdict) {
      case Verdict::Delivered: return settled();
      case Verdict::Rejected: return give_up("refused");
      case Verdict::Refused:
        if (request.spans.size() < 2 || halves_left_ < 2) return give_up("refused");
        attempts_.answered();
        halves_left_ -= 2;
        stats_.halved++;
        return halve();
      case Verdict::TooLarge:
        if (request.spans.size() < 2) return give_up("too_large");
        attempts_.answered();
        limit_ = std::min(limit_, std::max<uint64_t>(request.bytes->size() / 2, kSmallestLearnedLimit));
        return halve();
      case Verdict::Retry:
        stats_.retries++;
        attempts_.retry(result, flushing_);
        idle_.notify_all();  // who waits for all to be sent may not want to wait so long
        if (!attempts_.too_long()) return;
        attempts_.forget_failures();  // the receiver is still away: the next attempt is not earlier for it
        drop("retried_too_long", request.spans.size());
        return remove_front();
    }
  }

  void halve() SONDE_REQUIRES(mutex_) {
    const std::span<const Span* const> spans = requests_.front().spans;
    requests_.pop_front();
    const std::size_t middle = spans.size() / 2;
    requests_.push_front({spans.subspan(middle), nullptr});
    requests_.push_front({spans.first(middle), nullptr});
  }

  void give_up(const char* reason) SONDE_REQUIRES(mutex_) {
    drop(reason, requests_.front().spans.size());
    settled();
  }

  void settled() SONDE_REQUIRES(mutex_) {
    attempts_.answered();
    remove_front();
  }

  void remove_front() SONDE_REQUIRES(mutex_) {
    on_the_way_ -= requests_.front().spans.size();
    requests_.pop_front();
    if (requests_.empty()) taken_ = {};
    on_the_way_bytes_ = 0;
  }

  void drop(const char* reason, uint64_t spans) SONDE_REQUIRES(mutex_) {
    if (spans > 0) stats_.spans_dropped[reason] += spans;
  }

  void note(const SendResult& result, uint64_t spans) SONDE_REQUIRES(mutex_) {
    stats_.bytes_sent += result.sent_bytes;
    if (result.verdict == Verdict::Delivered) {
      const uint64_t rejected = std::min(result.rejected, spans);
      stats_.spans_sent += spans - rejected;
      stats_.spans_rejected += rejected;
      stats_.last_error.clear();
      if (rejected > 0) {
        stats_.failures["partial_success"]++;
        stats_.last_error = fmt::format("the receiver rejected {} of {} spans: {}", rejected, spans, result.message);
      }
    } else {
      stats_.failures[result.code]++;
      stats_.last_error = result.message;
    }
    attempts_.log(result, destination(), stats_.last_error);
  }

  // A receiver that refuses one monstrous span as too large must not make all later requests tiny.
  static constexpr uint64_t kSmallestLearnedLimit = 64 << 10;

  const OtlpOptions options_;
  const SpanQueueLimits limits_;
  const std::unique_ptr<OtlpSender> sender_;

  mutable Mutex mutex_;
  Condition wake_;  // the thread has something to do
  Condition idle_;  // nothing is left to send
  SpanQueue queue_ SONDE_GUARDED_BY(mutex_);
  ExporterStats stats_ SONDE_GUARDED_BY(mutex_);
  OtlpAttempts attempts_ SONDE_GUARDED_BY(mutex_);
  TakenSpans taken_ SONDE_GUARDED_BY(mutex_);              // what `requests_` are made of
  std::deque<Request> requests_ SONDE_GUARDED_BY(mutex_);  // the one on its way, and its halves
  uint64_t on_the_way_ SONDE_GUARDED_BY(mutex_) = 0;       // spans in `requests_`
  uint64_t on_the_way_bytes_ SONDE_GUARDED_BY(mutex_) = 0;
  uint64_t limit_ SONDE_GUARDED_BY(mutex_) = options_.max_request_bytes;  // of a request; less once a receiver has said so
  uint32_t halves_left_ SONDE_GUARDED_BY(mutex_) = 0;
  bool busy_ SONDE_GUARDED_BY(mutex_) = false;
  bool hurry_ SONDE_GUARDED_BY(mutex_) = false;     // somebody waits for all to be sent: the next attempt is now
  bool flushing_ SONDE_GUARDED_BY(mutex_) = false;  // the same, until it is over
  bool stop_ SONDE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<SpanExporter>> make_otlp_span_exporter(OtlpOptions options, const SpanQueueLimits& limits,
                                                              std::shared_ptr<HttpTransport> http) {
  auto sender = make_otlp_sender(options, OtlpSignal::Traces, std::move(http));
  if (!sender) return sender.error();
  return std::unique_ptr<SpanExporter>(
      std::make_unique<OtlpSpanExporter>(std::move(options), limits, std::move(*sender)));
}

}  // namespace sonde
