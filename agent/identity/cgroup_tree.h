// SPDX-License-Identifier: Apache-2.0
// The cgroup v2 tree as directories: one bounded walk at the start (what comes later the kernel side tells), and the
// processes of a cgroup.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

struct CgroupDirectory {
  uint64_t id = 0;
  uint64_t parent_id = 0;     // 0 for the root
  std::string path;           // below the root; "/" is the root itself
  bool has_procs = false;     // processes directly in it
  bool is_leaf = false;       // no directory below it
  bool is_container = false;  // by its name; see read_directory_name
  bool inside = false;        // below a container, and not below a pod that this container holds
};

struct TreeLimits {
  std::size_t directories = 100'000;
  std::size_t depth = 64;
};

struct CgroupTree {
  std::vector<CgroupDirectory> directories;  // parents before children
  uint64_t vanished = 0;                     // directories that went away while we looked
  uint64_t over_limits = 0;                  // seen and not visited: deeper or more than the limits
  uint64_t unreadable = 0;                   // refused: no permission
};

// Fails only if the root itself cannot be read.
Result<CgroupTree> walk_cgroups(const std::string& root, const TreeLimits& limits = {});

struct CgroupPids {
  std::vector<uint32_t> pids;  // rising, each once
  uint64_t hidden = 0;         // processes outside the reader's pid namespace
  bool cut = false;            // there are more than `limit`
};
// Processes of a cgroup and, if wanted, all below it.
Result<CgroupPids> cgroup_pids(const std::string& root, const std::string& path, std::size_t limit = 100'000,
                               bool below = true);

// Looks below the directory `from` (itself not included), nearest first, for the one with this id, and tells of all
// that it sees on the way, at most `limit`. False: it is not there.
bool find_cgroup(const std::string& root, const std::string& from, uint64_t id, std::size_t limit,
                 const std::function<void(uint64_t id, uint64_t parent_id, const std::string& name)>& visit);

}  // namespace sonde
