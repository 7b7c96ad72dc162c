// SPDX-License-Identifier: Apache-2.0
#include "agent/export/file_span_exporter.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "agent/base/mutex.h"

namespace sonde {
namespace {

class FileSpanExporter final : public SpanExporter {
 public:
  FileSpanExporter(FileExporter& file, const SpanQueueLimits& limits)
      : file_(file), limits_(limits), queue_(limits), thread_([this] { run(); }) {}

  // What waits is still written: a file takes it at once.
  ~FileSpanExporter() override {
    {
      const MutexLock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  std::string_view name() const override { return "file_traces"; }
  std::string destination() const override { return file_.destination(); }

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
    const MutexLock lock(mutex_);
    idle_.wait_for(mutex_, std::chrono::nanoseconds(std::min<uint64_t>(timeout_ns, 3'600'000'000'000)),
                   [this]() SONDE_REQUIRES(mutex_) { return queue_.empty() && !busy_; });
  }

  ExporterStats stats() const override {
    const MutexLock lock(mutex_);
    ExporterStats stats = stats_;
    stats.queued_spans = queue_.spans();
    stats.queued_bytes = queue_.bytes();
    return stats;
  }

 private:
  void run() {
    MutexLock lock(mutex_);
    while (true) {
      wake_.wait(mutex_, [this]() SONDE_REQUIRES(mutex_) { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      busy_ = true;
      const TakenSpans taken = queue_.take(limits_.max_request_spans);
      lock.unlock();
      const FileExporter::SpansWritten written = file_.write(taken.spans);
      lock.lock();
      busy_ = false;
      stats_.spans_sent += written.count;
      drop(std::string(written.failure), taken.spans.size() - written.count);
      idle_.notify_all();
    }
  }

  void drop(const std::string& reason, uint64_t spans) SONDE_REQUIRES(mutex_) {
    if (spans > 0) stats_.spans_dropped[reason] += spans;
  }

  FileExporter& file_;
  const SpanQueueLimits limits_;
  mutable Mutex mutex_;
  Condition wake_;
  Condition idle_;
  SpanQueue queue_ SONDE_GUARDED_BY(mutex_);
  ExporterStats stats_ SONDE_GUARDED_BY(mutex_);
  bool busy_ SONDE_GUARDED_BY(mutex_) = false;
  bool stop_ SONDE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<SpanExporter> make_file_span_exporter(FileExporter& file, const SpanQueueLimits& limits) {
  return std::make_unique<FileSpanExporter>(file, limits);
}

}  // namespace sonde
