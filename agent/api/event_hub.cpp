// SPDX-License-Identifier: Apache-2.0
#include "agent/api/event_hub.h"

#include <chrono>
#include <utility>

namespace sonde {

std::optional<EventHub::Taken> EventHub::Listener::next(uint64_t timeout_ns) {
  const MutexLock lock(mutex_);
  ready_.wait_for(mutex_, std::chrono::nanoseconds(timeout_ns),
                  [this]() SONDE_REQUIRES(mutex_) { return closed_ || !queue_.empty(); });
  if (closed_ || queue_.empty()) return std::nullopt;
  Taken out{std::move(queue_.front()), std::exchange(lost_, 0)};
  queue_.pop_front();
  return out;
}

bool EventHub::Listener::closed() const {
  const MutexLock lock(mutex_);
  return closed_;
}

void EventHub::publish(OperationEventPtr event) {
  if (!wanted()) return;
  const MutexLock lock(mutex_);
  std::erase_if(listeners_, [](const auto& weak) { return weak.expired(); });
  listeners_count_.store(listeners_.size(), std::memory_order_relaxed);
  for (const auto& weak : listeners_) {
    std::shared_ptr<Listener> listener = weak.lock();
    if (!listener) continue;
    const MutexLock inner(listener->mutex_);
    if (listener->queue_.size() >= queue_length_) {
      listener->queue_.pop_front();
      listener->lost_++;
    }
    listener->queue_.push_back(event);
    listener->ready_.notify_one();
  }
}

std::shared_ptr<EventHub::Listener> EventHub::listen() {
  auto made = std::make_shared<Listener>();
  const MutexLock lock(mutex_);
  std::erase_if(listeners_, [](const auto& weak) { return weak.expired(); });
  {
    const MutexLock inner(made->mutex_);
    made->closed_ = closed_;
  }
  listeners_.push_back(made);
  listeners_count_.store(listeners_.size(), std::memory_order_relaxed);
  return made;
}

void EventHub::close() {
  const MutexLock lock(mutex_);
  closed_ = true;
  for (const auto& weak : listeners_) {
    std::shared_ptr<Listener> listener = weak.lock();
    if (!listener) continue;
    const MutexLock inner(listener->mutex_);
    listener->closed_ = true;
    listener->ready_.notify_all();
  }
}

}  // namespace sonde
