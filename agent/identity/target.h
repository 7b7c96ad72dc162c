// SPDX-License-Identifier: Apache-2.0
// `--target-pid` and `--target-comm`: what to measure when Sonde runs for a single process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/identity/proc.h"

namespace sonde {

struct TargetCgroup {
  std::string path;    // below the v2 root
  bool whole = false;  // all its processes belong to the target: the cgroup is measured as one subject
};

struct Target {
  Proc::Process root;                 // the process that was named
  std::vector<uint32_t> pids;         // it and its descendants, rising
  std::vector<TargetCgroup> cgroups;  // where they are, by path
  // Some cgroup is shared with others: Granularity::Process there, and of it only these processes.
  bool per_process = false;
  // Not empty: why a shared cgroup is measured whole all the same, a sentence for the log.
  std::string note;
};

// The one process with this comm (compared as far as the kernel keeps it, 15 bytes). Processes whose parent has the
// same comm count as part of its tree. The error lists several.
Result<uint32_t> find_process(const Proc& proc, std::string_view comm);

// `cgroup_root` is the v2 root's directory, for the processes of each cgroup.
Result<Target> resolve_target(const Proc& proc, const std::string& cgroup_root, uint32_t pid);

// What the settings name: a pid, or else a comm; neither (0 and empty): nothing.
Result<std::optional<Target>> named_target(const Proc& proc, const std::string& cgroup_root, uint32_t pid,
                                           const std::string& comm);

// "process 123 (postgres) and 4 more in /system.slice/postgresql.service" for the start-up log.
std::string describe(const Target& target);

}  // namespace sonde
