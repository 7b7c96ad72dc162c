// SPDX-License-Identifier: Apache-2.0
// Hand-over between threads, bounded in bytes and items: when it is full the oldest item goes, and is counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "agent/base/check.h"
#include "agent/base/mutex.h"
#include "agent/pipeline/batch.h"
#include "agent/pipeline/stats.h"

namespace sonde {

// Memory that a batch holds alone (its Resources and attribute sets are shared with the aggregator).
inline uint64_t batch_memory(const Batch& batch) {
  return sizeof(Batch) + batch.resources.capacity() * sizeof(ResourcePoints) + batch.points.capacity() * sizeof(Point) +
         batch.buckets.capacity() * sizeof(uint64_t);
}

template <typename T>
class BoundedQueue {
 public:
  BoundedQueue(uint64_t max_items, uint64_t max_bytes) : max_items_(max_items), max_bytes_(max_bytes) {}

  // Never waits. An item larger than the whole queue is taken if it is the only one: better late than never.
  void push(T item, uint64_t bytes) {
    std::deque<Entry> dropped;  // freed after the lock
    {
      const MutexLock lock(mutex_);
      if (closed_) {
        ++stats_.dropped;
        stats_.dropped_bytes += bytes;
        return;
      }
      while (!entries_.empty() && (entries_.size() + 1 > max_items_ || bytes_ + bytes > max_bytes_)) {
        SONDE_CHECK(bytes_ >= entries_.front().bytes);
        bytes_ -= entries_.front().bytes;
        ++stats_.dropped;
        stats_.dropped_bytes += entries_.front().bytes;
        dropped.push_back(std::move(entries_.front()));
        entries_.pop_front();
      }
      entries_.push_back({std::move(item), bytes});
      bytes_ += bytes;
      ++stats_.pushed;
    }
    ready_.notify_one();
  }

  // The oldest item; nothing after the time-out, or when the queue is closed and empty.
  std::optional<T> pop(std::chrono::nanoseconds timeout) {
    MutexLock lock(mutex_);
    ready_.wait_for(mutex_, timeout, [this]() SONDE_REQUIRES(mutex_) { return closed_ || !entries_.empty(); });
    if (entries_.empty()) return std::nullopt;
    Entry entry = std::move(entries_.front());
    entries_.pop_front();
    SONDE_CHECK(bytes_ >= entry.bytes);
    bytes_ -= entry.bytes;
    return std::move(entry.item);
  }

  // What is inside can still be taken; what is pushed from now on is dropped and counted.
  void close() {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  bool closed() const {
    const MutexLock lock(mutex_);
    return closed_;
  }

  QueueStats stats() const {
    const MutexLock lock(mutex_);
    QueueStats stats = stats_;
    stats.items = entries_.size();
    stats.bytes = bytes_;
    stats.max_bytes = max_bytes_;
    return stats;
  }

 private:
  struct Entry {
    T item;
    uint64_t bytes;
  };

  const uint64_t max_items_;
  const uint64_t max_bytes_;
  mutable Mutex mutex_;
  Condition ready_;
  std::deque<Entry> entries_ SONDE_GUARDED_BY(mutex_);
  uint64_t bytes_ SONDE_GUARDED_BY(mutex_) = 0;
  bool closed_ SONDE_GUARDED_BY(mutex_) = false;
  QueueStats stats_ SONDE_GUARDED_BY(mutex_);
};

using BatchQueue = BoundedQueue<BatchPtr>;

}  // namespace sonde
