// SPDX-License-Identifier: Apache-2.0
// What the operator follows, parsed as it comes: policies, the nodes' reports, the nodes' labels. Each is filled by a
// reflector's thread and read by the operator's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "agent/base/mutex.h"
#include "agent/kube/reflector.h"
#include "agent/operator/aggregate.h"

namespace sonde::operators {

using Labels = std::map<std::string, std::string>;

// Of an object as JSON; nothing if it is none of this kind.
std::shared_ptr<const PolicyFacts> read_policy(std::string_view object);
std::shared_ptr<const kube::NodeReport> read_report(std::string_view object);
std::shared_ptr<const Labels> read_labels(std::string_view object);

template <typename T>
class Store final : public kube::ObjectSink {
 public:
  using Read = std::shared_ptr<const T> (*)(std::string_view);
  using All = std::map<std::string, std::shared_ptr<const T>>;  // by "namespace/name"
  Store(Read read, std::function<void()> changed) : read_(read), changed_(std::move(changed)) {}

  void replace(std::map<std::string, std::string> objects) override {
    All all;
    for (const auto& [key, object] : objects) {
      if (auto value = read_(object)) all.emplace(key, std::move(value));
    }
    {
      const MutexLock lock(mutex_);
      all_ = std::move(all);
    }
    changed_();
  }
  void put(const std::string& key, std::string object) override {
    auto value = read_(object);
    {
      const MutexLock lock(mutex_);
      if (value)
        all_[key] = std::move(value);
      else
        all_.erase(key);
    }
    changed_();
  }
  void remove(const std::string& key) override {
    {
      const MutexLock lock(mutex_);
      all_.erase(key);
    }
    changed_();
  }
  All all() const {
    const MutexLock lock(mutex_);
    return all_;
  }
  std::size_t size() const {
    const MutexLock lock(mutex_);
    return all_.size();
  }

 private:
  const Read read_;
  const std::function<void()> changed_;
  mutable Mutex mutex_;
  All all_ SONDE_GUARDED_BY(mutex_);
};

}  // namespace sonde::operators
