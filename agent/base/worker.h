// SPDX-License-Identifier: Apache-2.0
// A thread that works, pauses and works again until its owner ends it. Make it the last member: it ends before what it uses.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "agent/base/mutex.h"

namespace sonde {

class Worker {
 public:
  Worker() = default;
  ~Worker() { end(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start(std::function<void()> run) { thread_ = std::thread(std::move(run)); }

  // Asks it to end: a pause is over at once, and none begins any more. What else it may be waiting for is its owner's to end.
  void stop() {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
  }
  // Stops it and waits until it has ended.
  void end() {
    stop();
    if (thread_.joinable()) thread_.join();
  }

  // For the thread itself. True: it is time to end.
  bool stopping() const {
    const MutexLock lock(mutex_);
    return stopping_;
  }
  bool pause(uint64_t ns) {
    const MutexLock lock(mutex_);
    return wake_.wait_for(mutex_, std::chrono::nanoseconds(ns), [this]() SONDE_REQUIRES(mutex_) { return stopping_; });
  }

 private:
  mutable Mutex mutex_;
  Condition wake_;
  bool stopping_ SONDE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sonde
