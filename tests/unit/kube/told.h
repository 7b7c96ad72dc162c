// SPDX-License-Identifier: Apache-2.0
// What a source of pods said.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/kube/pod_source.h"

namespace sonde::kube {

class Told final : public PodSink {
 public:
  void all(std::vector<Pod> pods) override {
    const std::lock_guard lock(mutex_);
    ++alls_;
    last_ = std::to_string(pods.size()) + " pods";
    pods_ = std::move(pods);
  }
  void one(Pod pod) override {
    const std::lock_guard lock(mutex_);
    last_ = "one " + pod.uid;
    ones_.push_back(std::move(pod));
  }
  void gone(const std::string& uid) override {
    const std::lock_guard lock(mutex_);
    last_ = "gone " + uid;
    gone_.push_back(uid);
  }
  void fresh() override {
    const std::lock_guard lock(mutex_);
    ++freshes_;
  }
  void failed(std::string reason) override {
    const std::lock_guard lock(mutex_);
    ++failures_;
    last_ = std::move(reason);
  }

  int alls() const { return locked(alls_); }
  int freshes() const { return locked(freshes_); }
  int failures() const { return locked(failures_); }
  std::string last() const { return locked(last_); }
  std::vector<Pod> pods() const { return locked(pods_); }
  std::vector<Pod> ones() const { return locked(ones_); }
  std::vector<std::string> all_gone() const { return locked(gone_); }

  bool wait_for(const std::function<bool(const Told&)>& state) const {
    for (int i = 0; i < 30'000; ++i) {
      if (state(*this)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

 private:
  template <typename T>
  T locked(const T& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }
  mutable std::mutex mutex_;
  int alls_ = 0, freshes_ = 0, failures_ = 0;
  std::string last_;
  std::vector<Pod> pods_, ones_;
  std::vector<std::string> gone_;
};

}  // namespace sonde::kube
