// SPDX-License-Identifier: Apache-2.0
// Fills the table of pods from the best source that works. A better one than that in use keeps trying and takes over when
// it works; worse ones rest. A source that worked is given up after three failures in a row. While none works the table
// stays as it is: the last snapshot serves, and its age is told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/kube/pod_source.h"
#include "agent/kube/pod_table.h"

namespace sonde::kube {

enum class SourceState : uint8_t {
  Unused,   // the configuration leaves it out
  Resting,  // a better one is in use
  Trying,   // no verdict yet
  Working,
  Failed,  // it keeps trying
};
std::string_view word_of(SourceState state);

struct SourceStatus {
  std::string name;
  SourceState state = SourceState::Resting;
  bool in_use = false;
  std::string reason;     // why it does not work, or the last failure of one that still counts as working
  uint64_t failures = 0;  // tries that failed, since the start
};

class PodSources {
 public:
  static constexpr int kGiveUpAfter = 3;

  // `changed` is called from any thread when the table has news.
  PodSources(PodTable& table, std::vector<PodSourceEntry> entries, std::function<void()> changed);
  ~PodSources();

  void start();

  std::string in_use() const;  // empty: none works (any more)
  // Whose pods the table has: the one in use or the last that was; empty: nobody's yet.
  std::string last_used() const;
  uint64_t fresh_ns() const;  // CLOCK_BOOTTIME of the last word of the source in use; 0: never any
  uint64_t switches() const;  // how often another source came into use
  std::vector<SourceStatus> status() const;

 private:
  class Feed;  // a source's sink: knows which one it is
  struct One {
    PodSourceEntry entry;
    SourceStatus status;
    int in_a_row = 0;  // failures
    std::unique_ptr<Feed> feed;
    std::unique_ptr<PodSource> source;
  };

  void all(std::size_t index, std::vector<Pod> pods);
  void change(std::size_t index, const std::function<void()>& apply);
  void failed(std::size_t index, std::string reason);
  bool takes(std::size_t index) SONDE_REQUIRES(mutex_);
  void heard(std::size_t index) SONDE_REQUIRES(mutex_);
  void use(int index) SONDE_REQUIRES(mutex_);
  bool wanted(std::size_t index) const SONDE_REQUIRES(mutex_);
  std::string others_text() const SONDE_REQUIRES(mutex_);
  void run();
  void settle() SONDE_REQUIRES(mutex_);

  PodTable& table_;
  std::function<void()> changed_;
  mutable Mutex mutex_;
  Condition wake_;
  std::vector<One> ones_ SONDE_GUARDED_BY(mutex_);
  int in_use_ SONDE_GUARDED_BY(mutex_) = -1;
  int last_used_ SONDE_GUARDED_BY(mutex_) = -1;
  uint64_t fresh_ns_ SONDE_GUARDED_BY(mutex_) = 0;
  uint64_t switches_ SONDE_GUARDED_BY(mutex_) = 0;
  bool stopping_ SONDE_GUARDED_BY(mutex_) = false;
  bool unsettled_ SONDE_GUARDED_BY(mutex_) = true;
  std::thread thread_;
};

}  // namespace sonde::kube
