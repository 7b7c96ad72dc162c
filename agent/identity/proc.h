// SPDX-License-Identifier: Apache-2.0
// Processes, as /proc shows them. In a pod the host's is mounted elsewhere (/host/proc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

class Proc {
 public:
  explicit Proc(std::string root = "/proc") : root_(std::move(root)) {}
  const std::string& root() const { return root_; }

  struct Process {
    uint32_t pid = 0;
    uint32_t parent = 0;
    std::string comm;          // at most 15 bytes; of kernel threads too
    uint64_t start_ticks = 0;  // since boot, in clock ticks: pid and start together are never used again
    uint32_t threads = 0;
    bool kernel_thread = false;
  };
  Result<Process> process(uint32_t pid) const;
  // All processes, by pid; those that end while we look are left out.
  Result<std::vector<Process>> processes() const;
  Result<std::vector<uint32_t>> threads(uint32_t pid) const;

  // Path in the cgroup v2 tree (the 0:: line), as seen from the reader's cgroup namespace.
  Result<std::string> cgroup(uint32_t pid) const;

  // Are the pids seen here those of the machine (and so those that the kernel side reports)?
  bool has_machine_pids() const;

 private:
  std::string root_;
};

// Parsers of /proc/<pid>/stat and /proc/<pid>/cgroup.
Result<Proc::Process> parse_proc_stat(std::string_view text);
Result<std::string> parse_proc_cgroup(std::string_view text);

}  // namespace sonde
