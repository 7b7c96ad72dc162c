// SPDX-License-Identifier: Apache-2.0
// Hands events (spans of slow operations) to whoever listens. Publishing never waits: a listener that reads too slowly
// loses the oldest events and is told how many. Without listeners it costs one atomic load.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/pipeline/batch.h"

namespace sonde {

struct OperationEvent {
  std::string operation;  // read, fsync, run_queue, …
  uint64_t start_ns = 0;  // CLOCK_REALTIME
  uint64_t duration_ns = 0;
  uint32_t pid = 0;  // init namespace
  uint32_t tid = 0;
  std::string comm;
  ResourcePtr resource;
  AttributeSet attributes;
  std::string trace_id;  // 16 raw bytes, or empty
  std::string span_id;   // 8 raw bytes, or empty
  std::string parent_span_id;
};
using OperationEventPtr = std::shared_ptr<const OperationEvent>;

class EventHub {
 public:
  struct Taken {
    OperationEventPtr event;
    uint64_t lost = 0;  // before this one
  };

  class Listener {
   public:
    // Waits for the next event; nothing after the timeout or close().
    std::optional<Taken> next(uint64_t timeout_ns);
    bool closed() const;

   private:
    friend class EventHub;
    mutable Mutex mutex_;
    Condition ready_;
    std::deque<OperationEventPtr> queue_ SONDE_GUARDED_BY(mutex_);
    uint64_t lost_ SONDE_GUARDED_BY(mutex_) = 0;
    bool closed_ SONDE_GUARDED_BY(mutex_) = false;
  };

  explicit EventHub(std::size_t queue_length = 1024) : queue_length_(queue_length) {}

  bool wanted() const { return listeners_count_.load(std::memory_order_relaxed) > 0; }
  void publish(OperationEventPtr event);
  std::shared_ptr<Listener> listen();  // until the pointer is released
  void close();                        // wakes all listeners for good

 private:
  const std::size_t queue_length_;
  Mutex mutex_;
  std::vector<std::weak_ptr<Listener>> listeners_ SONDE_GUARDED_BY(mutex_);
  std::atomic<std::size_t> listeners_count_{0};
  bool closed_ SONDE_GUARDED_BY(mutex_) = false;
};

}  // namespace sonde
