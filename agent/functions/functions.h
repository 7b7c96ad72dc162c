// SPDX-License-Identifier: Apache-2.0
// From decisions to attached functions: which slots request which, where they are in the files of the slot's processes,
// attached while requested, for each new container, and detached when the last one ends.
//
// Reading files of containers takes time, and a file system may never answer, so it is done on a separate thread,
// in child processes with a deadline. The loop only passes the requests; functions no longer requested stop counting
// immediately. A slot's files are looked up again later: programs start, libraries are loaded.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/functions/instances.h"
#include "agent/identity/identity.h"
#include "agent/identity/members.h"
#include "agent/policy/decision.h"

namespace sonde {

struct FunctionsOptions {
  std::string cgroup_root;
  std::string proc_root = "/proc";
  double most_per_second = 1e6;           // calls of a function above which it is detached
  uint64_t hot_rest_ns = 60'000'000'000;  // initial pause, doubled each time, up to an hour
};

// State of a policy's function, over all its containers.
struct FunctionReport {
  std::string policy;
  std::string name;
  Refusal refusal = Refusal::None;  // FileNotFound also while no container runs the file yet
  std::string message;              // empty if it works everywhere
  std::string hook;                 // how it is measured: "uprobe", "fentry and fexit", …; empty: not measured
  uint32_t attached = 0;            // containers in which it is measured
  uint32_t asked = 0;               // containers that request it
};

class Functions {
 public:
  Functions(const Engine& engine, FunctionsOptions options);
  ~Functions();
  Functions(const Functions&) = delete;
  Functions& operator=(const Functions&) = delete;

  // Called by the loop at any time; does nothing if the snapshots have not changed.
  void update(const IdentitySnapshotPtr& identity, const std::shared_ptr<const PolicySnapshot>& decisions);
  // Any thread.
  std::vector<FunctionReport> reports() const;
  std::size_t attached() const;  // instances
  uint64_t missed() const;       // calls of kernel functions that the kernel has skipped so far

 private:
  // The requester: a slot and its current holder.
  struct Asker {
    std::string path;
    uint32_t tgid = 0;
    bool container = false;
    std::string holder;  // changes when the slot has a new holder
    DecisionPtr decision;
  };
  using Wanted = std::map<uint32_t, Asker>;
  struct SlotWork {
    Asker asker;
    std::map<std::string, std::vector<InstancePtr>> instances;  // by function
    std::map<std::string, Refusal> missing;                     // functions without instance
    uint64_t next_ns = 0;
    int looks = 0;
  };

  void run();
  uint64_t turn(const Wanted& wanted);
  void follow(const Wanted& wanted);
  void follow_mounts();
  void watch();
  void look(uint32_t slot, SlotWork& work);
  void look_at_kernel(SlotWork& work, std::map<std::string, std::vector<InstancePtr>>& found);
  void look_at_files(SlotWork& work, std::map<std::string, std::vector<InstancePtr>>& found);
  void exchange(uint32_t slot, SlotWork& work, std::map<std::string, std::vector<InstancePtr>> found);
  bool still_wanted(uint32_t slot, const Asker& asker) const SONDE_REQUIRES(mutex_);
  void drop(uint32_t slot, SlotWork& work);
  std::vector<uint32_t> pids_of(const Asker& asker) const;
  void publish();

  FunctionsOptions options_;
  Members members_;
  std::unique_ptr<FunctionProbes> probes_;
  std::string off_;  // why there are no probes

  mutable Mutex mutex_;
  Condition changed_;
  bool stopping_ SONDE_GUARDED_BY(mutex_) = false;
  uint64_t version_ SONDE_GUARDED_BY(mutex_) = 0;
  Wanted wanted_ SONDE_GUARDED_BY(mutex_);
  std::vector<FunctionReport> reports_ SONDE_GUARDED_BY(mutex_);
  std::size_t attached_ SONDE_GUARDED_BY(mutex_) = 0;
  uint64_t missed_ SONDE_GUARDED_BY(mutex_) = 0;

  // The loop's
  const void* identity_ = nullptr;
  const void* decisions_ = nullptr;
  std::shared_ptr<const void> held_[2];  // keeps the address from being reused by another snapshot

  // The thread's
  std::unique_ptr<FunctionInstances> instances_;
  std::map<uint32_t, SlotWork> work_;
  uint64_t next_hot_ns_ = 0;
  uint64_t last_hot_ns_ = 0;
  std::thread thread_;
};

}  // namespace sonde
