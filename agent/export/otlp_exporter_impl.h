// SPDX-License-Identifier: Apache-2.0
// The sending thread behind make_otlp_exporter(); see otlp_exporter.h for what it promises.
#pragma once

#include <deque>
#include <optional>
#include <thread>

#include "agent/base/mutex.h"
#include "agent/export/disk_queue.h"
#include "agent/export/exporter.h"
#include "agent/export/otlp_attempts.h"
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

  void run();
  bool take_work() SONDE_REQUIRES(mutex_);
  bool wait_for_turn() SONDE_REQUIRES(mutex_);
  void send_one() SONDE_REQUIRES(mutex_);
  void begin(BatchPtr batch);
  bool encode_next();
  void look_for_disk() SONDE_REQUIRES(mutex_);
  bool disk_is_due() const SONDE_REQUIRES(mutex_);
  void to_disk() SONDE_REQUIRES(mutex_);
  Result<void> write_batch(Sending& sending);
  void keep_for_restart() SONDE_REQUIRES(mutex_);
  void settled() SONDE_REQUIRES(mutex_);
  void drop(uint32_t points) SONDE_REQUIRES(mutex_);
  void part() SONDE_REQUIRES(mutex_);
  void halve() SONDE_REQUIRES(mutex_);
  void retry_later(const SendResult& result) SONDE_REQUIRES(mutex_);
  void give_back() SONDE_REQUIRES(mutex_);
  void merge_oldest() SONDE_REQUIRES(mutex_);
  void shrink_queue() SONDE_REQUIRES(mutex_);
  uint64_t queued_bytes() const SONDE_REQUIRES(mutex_);
  uint64_t room() const SONDE_REQUIRES(mutex_);
  void note(const SendResult& result, uint32_t points) SONDE_REQUIRES(mutex_);
  void publish() SONDE_REQUIRES(mutex_);

  const OtlpOptions options_;
  const std::unique_ptr<OtlpSender> sender_;
  const bool converts_;  // to delta

  mutable Mutex mutex_;
  Condition wake_;  // the thread has something to do
  Condition idle_;  // nothing is left to send
  struct Queued {
    BatchPtr batch;
    uint64_t bytes = 0;
  };
  std::deque<Queued> queue_ SONDE_GUARDED_BY(mutex_);
  std::vector<StreamKey> unmarked_ SONDE_GUARDED_BY(mutex_);  // ended streams whose mark was dropped
  ExporterStats stats_ SONDE_GUARDED_BY(mutex_);
  uint64_t on_the_way_bytes_ SONDE_GUARDED_BY(mutex_) = 0;  // requests encoded and not yet answered, as last published
  bool busy_ SONDE_GUARDED_BY(mutex_) = true;               // until the thread has found nothing to do
  bool hurry_ SONDE_GUARDED_BY(mutex_) = false;     // somebody waits for all to be sent: the next attempt is now
  bool flushing_ SONDE_GUARDED_BY(mutex_) = false;  // the same, until it is over
  bool stop_ SONDE_GUARDED_BY(mutex_) = false;
  OtlpAttempts attempts_ SONDE_GUARDED_BY(mutex_);

  // Of the thread alone.
  std::unique_ptr<DiskQueue> disk_;
  OtlpEncoder encoder_;
  DeltaConverter delta_;
  std::optional<Sending> sending_;
  std::deque<Request> requests_;  // the one on its way, and its halves
  uint32_t halves_left_ = 0;      // requests that may still be made of refused ones, in this batch
  bool waits_for_disk_ = false;   // another agent has the queue's directory
  bool from_disk_ = false;
  uint64_t disk_retry_ns_ = 0;  // CLOCK_MONOTONIC; a write failed: batches go out directly until then
  DiskQueueLosses published_losses_;
  uint64_t limit_;                 // of a request in this batch
  uint64_t learned_limit_;         // what the receiver seems to take
  std::thread thread_;
};

}  // namespace sonde
