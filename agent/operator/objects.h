// SPDX-License-Identifier: Apache-2.0
// What the operator follows, read as it comes: policies, the nodes' reports, the nodes' labels. Each is filled by a
// reflector's thread and read by the operator's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

#include "agent/base/mutex.h"
#include "agent/kube/reflector.h"
#include "agent/operator/aggregate.h"

namespace sonde::operators {

using Labels = std::map<std::string, std::string>;

// Of an object; nothing if it is none of this kind.
std::shared_ptr<const PolicyFacts> read_policy(const nlohmann::json& object);
std::shared_ptr<const kube::NodeReport> read_report(const nlohmann::json& object);
std::shared_ptr<const Labels> read_labels(const nlohmann::json& object);

template <typename T>
class Store final : public kube::ObjectSink {
 public:
  using Read = std::shared_ptr<const T> (*)(const nlohmann::json&);
  using All = std::map<std::string, std::shared_ptr<const T>>;  // by "namespace/name"
  Store(Read read, std::function<void()> changed) : read_(read), changed_(std::move(changed)) {}

  void begin() override { listing_.clear(); }
  void listed(const std::string& key, const nlohmann::json& object) override {
    if (auto value = read_(object)) listing_.insert_or_assign(key, std::move(value));
  }
  void replace() override {
    {
      const MutexLock lock(mutex_);
      all_ = std::exchange(listing_, {});
    }
    changed_();
  }
  void put(const std::string& key, const nlohmann::json& object) override {
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
  All listing_;  // the reflector's thread's
  mutable Mutex mutex_;
  All all_ SONDE_GUARDED_BY(mutex_);
};

}  // namespace sonde::operators
