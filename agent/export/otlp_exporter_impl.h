// SPDX-License-Identifier: Apache-2.0
// The sending thread behind make_otlp_exporter(); see otlp_exporter.h for what it promises.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "agent/base/backoff.h"
#include "agent/export/disk_queue.h"
#include "agent/export/exporter.h"
#include "agent/export/otlp_delta.h"
#include "agent/export/otlp_encoder.h"
#include "agent/export/otlp_sender.h"

namespace sonde {

class OtlpExporter final : public Exporter {
 public:
  // `disk` may be null.
  OtlpExporter(OtlpOptions options, std::unique_ptr<OtlpSender> sender, std::unique_ptr<DiskQueue> disk);
  ~OtlpExporter() override;

  std::string_view name() const override { return "otlp"; }
  std::string destination() const override;
  void push(BatchPtr batch) override;
  void flush(uint64_t timeout_ns) override;
  ExporterStats stats() const override;

 private:
  // The batch that is being sent, request by request.
  struct Sending {
    BatchPtr source;   // as it came
    BatchPtr batch;    // as it is encoded: the same, or differences
    BatchCursor done;  // before this everything is settled
    BatchCursor next;  // behind the request on its way
  };
  struct Request {
    std::shared_ptr<const std::string> bytes;
    uint32_t points = 0;
  };
  using Lock = std::unique_lock<std::mutex>;

  void run();
  bool take_work(Lock& lock);
  bool wait_for_turn(Lock& lock);
  void send_one(Lock& lock);
  void begin(BatchPtr batch);
  bool encode_next();
  void look_for_disk(Lock& lock);
  bool disk_is_due() const;
  void to_disk(Lock& lock);
  Result<void> write_batch(Sending& sending);
  void keep_for_restart(Lock& lock);
  void answered();
  void settled();
  void drop(uint32_t points);
  void part();
  void halve();
  void retry_later(const SendResult& result);
  void give_back();
  void merge_oldest();
  void shrink_queue();
  uint64_t queued_bytes() const;
  uint64_t room() const;
  bool will_try_before(uint64_t own_end_ns, uint64_t asked_end_ns) const;
  void note(const SendResult& result, uint32_t points);
  void publish();

  const OtlpOptions options_;
  const std::unique_ptr<OtlpSender> sender_;
  const bool converts_;  // to delta

  // Shared with push(), flush() and stats().
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // the thread has something to do
  std::condition_variable idle_;  // nothing is left to send
  struct Queued {
    BatchPtr batch;
    uint64_t bytes = 0;
  };
  std::deque<Queued> queue_;
  std::vector<StreamKey> unmarked_;  // ended streams whose mark was dropped
  ExporterStats stats_;
  uint64_t on_the_way_bytes_ = 0;  // requests encoded and not yet answered, as last published
  bool busy_ = true;               // until the thread has found nothing to do
  bool hurry_ = false;             // somebody waits for all to be sent: the next attempt is now
  bool flushing_ = false;          // the same, until it is over
  bool stop_ = false;
  uint64_t not_before_ns_ = 0;   // the next attempt; CLOCK_MONOTONIC; written by the thread
  uint64_t asked_until_ns_ = 0;  // the part of that wait that the receiver asked for

  // Of the thread alone.
  std::unique_ptr<DiskQueue> disk_;
  OtlpEncoder encoder_;
  DeltaConverter delta_;
  Backoff backoff_;
  std::optional<Sending> sending_;
  std::deque<Request> requests_;  // the one on its way, and its halves
  uint32_t halves_left_ = 0;      // requests that may still be made of refused ones, in this batch
  bool waits_for_disk_ = false;   // another agent has the queue's directory
  bool from_disk_ = false;
  uint64_t disk_retry_ns_ = 0;  // CLOCK_MONOTONIC; a write failed: batches go out directly until then
  DiskQueueLosses published_losses_;
  uint64_t limit_;                 // of a request in this batch
  uint64_t learned_limit_;         // what the receiver seems to take
  uint64_t failing_since_ns_ = 0;  // of this request; 0: not failing
  uint64_t last_log_ns_ = 0;
  bool failing_ = false;
  std::thread thread_;
};

}  // namespace sonde
