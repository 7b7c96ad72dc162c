// SPDX-License-Identifier: Apache-2.0
// The processes of a cgroup by the machine's pids, also from within a pid namespace: there cgroup.procs says 0 for whoever is
// outside, and only the machine's /proc, mounted for us, knows them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/base/result.h"
#include "agent/identity/cgroup_tree.h"
#include "agent/identity/proc.h"

namespace sonde {

struct MembersOptions {
  std::string cgroup_root;
  std::string proc_root = "/proc";  // "/proc": our own, so nobody else can tell
  std::string own_cgroup = "/proc/self/cgroup";
  uint32_t own_pid = 0;                           // as cgroup.procs shows us; 0: getpid()
  bool machine_pids = Proc().has_machine_pids();  // cgroup.procs shows the machine's pids, to us
};

class Members {
 public:
  explicit Members(MembersOptions options);

  // As cgroup_pids(); none are hidden where the machine's /proc is mounted. Any thread.
  Result<CgroupPids> pids(const std::string& path, std::size_t limit = 100'000, bool below = true) const;

 private:
  void scan() const SONDE_REQUIRES(mutex_);
  std::string find_base() const;

  const MembersOptions options_;
  const Proc proc_;
  mutable Mutex mutex_;
  mutable uint64_t scanned_ns_ SONDE_GUARDED_BY(mutex_) = 0;  // CLOCK_BOOTTIME; 0: never
  mutable std::map<std::string, std::vector<uint32_t>> by_path_ SONDE_GUARDED_BY(mutex_);
};

}  // namespace sonde
