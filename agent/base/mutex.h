// SPDX-License-Identifier: Apache-2.0
// The mutex of all of the agent. Clang checks at compile time that what it guards is only touched with it held:
//
//   mutable Mutex mutex_;
//   Condition changed_;
//   std::deque<Batch> queue_ SONDE_GUARDED_BY(mutex_);
//   void trim() SONDE_REQUIRES(mutex_);                                           // its caller holds it
//   …
//   const MutexLock lock(mutex_);
//   changed_.wait(mutex_, [this]() SONDE_REQUIRES(mutex_) { return !queue_.empty(); });
//
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html. Other compilers ignore the attributes.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "agent/base/check.h"

#if defined(__clang__)
#define SONDE_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define SONDE_THREAD_ATTRIBUTE(x)
#endif

#define SONDE_GUARDED_BY(mutex) SONDE_THREAD_ATTRIBUTE(guarded_by(mutex))
#define SONDE_PT_GUARDED_BY(mutex) SONDE_THREAD_ATTRIBUTE(pt_guarded_by(mutex))  // what the pointer points to
#define SONDE_REQUIRES(...) SONDE_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))

namespace sonde {

class SONDE_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() SONDE_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() SONDE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }

 private:
  friend class Condition;
  std::mutex mutex_;
};

// Holds a mutex to the end of the block, except between unlock() and lock().
class SONDE_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) SONDE_THREAD_ATTRIBUTE(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() SONDE_THREAD_ATTRIBUTE(release_capability()) {
    if (held_) mutex_.unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() SONDE_THREAD_ATTRIBUTE(acquire_capability()) {
    SONDE_CHECK(!held_);
    mutex_.lock();
    held_ = true;
  }
  void unlock() SONDE_THREAD_ATTRIBUTE(release_capability()) {
    SONDE_CHECK(held_);
    held_ = false;
    mutex_.unlock();
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

// A condition variable. Each wait releases the mutex, which its caller holds, and holds it again when it returns; the
// predicate is called with it held. Those with a time return what the predicate says at the end.
class Condition {
 public:
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

  template <typename Predicate>
  void wait(Mutex& mutex, Predicate predicate) SONDE_REQUIRES(mutex) {
    Adopted adopted(mutex);
    condition_.wait(adopted.lock, std::move(predicate));
  }
  template <typename Duration>
  void wait_for(Mutex& mutex, const Duration& time) SONDE_REQUIRES(mutex) {
    Adopted adopted(mutex);
    condition_.wait_for(adopted.lock, time);
  }
  template <typename Duration, typename Predicate>
  bool wait_for(Mutex& mutex, const Duration& time, Predicate predicate) SONDE_REQUIRES(mutex) {
    Adopted adopted(mutex);
    return condition_.wait_for(adopted.lock, time, std::move(predicate));
  }
  template <typename Time>
  void wait_until(Mutex& mutex, const Time& end) SONDE_REQUIRES(mutex) {
    Adopted adopted(mutex);
    condition_.wait_until(adopted.lock, end);
  }
  template <typename Time, typename Predicate>
  bool wait_until(Mutex& mutex, const Time& end, Predicate predicate) SONDE_REQUIRES(mutex) {
    Adopted adopted(mutex);
    return condition_.wait_until(adopted.lock, end, std::move(predicate));
  }

 private:
  // The caller's lock in the form that the standard library takes; it stays the caller's.
  struct Adopted {
    explicit Adopted(Mutex& mutex) : lock(mutex.mutex_, std::adopt_lock) {}
    ~Adopted() { lock.release(); }
    std::unique_lock<std::mutex> lock;
  };

  std::condition_variable condition_;
};

}  // namespace sonde
