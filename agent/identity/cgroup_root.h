// SPDX-License-Identifier: Apache-2.0
// Where the cgroup v2 tree is: mounted alone, next to v1 (hybrid), or seen from inside a container.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

struct CgroupRoot {
  std::string path;      // directory of the v2 root
  bool hybrid = false;   // controllers are on v1 hierarchies
  bool partial = false;  // only a part of the machine's tree: mounted from inside a cgroup namespace
};

struct CgroupRootOptions {
  std::string configured;           // not empty: this directory, or its "unified", and nothing else
  std::string proc_root = "/proc";  // the host's; not "/proc": its 1/root/sys/fs/cgroup is tried first
  std::string mountinfo = "/proc/self/mountinfo";
  // Is this directory on a cgroup2 file system? A port, so that tests need no mounts.
  std::function<bool(const std::string&)> is_cgroup2;  // empty: statfs
};

// The error is a sentence that says what to do (v1 only, nothing mounted, wrong directory configured).
Result<CgroupRoot> find_cgroup_root(const CgroupRootOptions& options = {});

struct CgroupMount {
  std::string root;  // which part of the hierarchy is mounted: "/" all of it
  std::string path;  // where
  bool v2 = false;
  bool named = false;  // v1 without controllers (name=systemd)
};
// The cgroup lines of /proc/<pid>/mountinfo (proc(5)), in its order; lines that cannot be read are passed over.
std::vector<CgroupMount> parse_mountinfo(std::string_view text);

// The kernel's id of a cgroup directory: its 8-byte file handle, or the inode number where handles do not exist.
Result<uint64_t> cgroup_id(const std::string& path);
Result<uint64_t> cgroup_id_at(int directory, const char* name);

}  // namespace sonde
