// SPDX-License-Identifier: Apache-2.0
// Containers whose own system calls this kernel does not see: gVisor answers them itself, a virtual machine has a
// kernel of its own. Found by the programs that stand in for them; said as warnings in status. On the agent's loop.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/identity/members.h"
#include "agent/identity/subject.h"

namespace sonde {

// "gVisor", "a virtual machine", or empty: of a program's first argument, as /proc/<pid>/cmdline has it.
std::string_view sandbox_of(std::string_view program);

class Sandboxed {
 public:
  Sandboxed(const Members& members, std::string proc_root) : members_(members), proc_root_(std::move(proc_root)) {}

  // Looks once at each container, when it has run for a while; once a minute at some of them, since it reads /proc.
  void look(const IdentitySnapshot& identity, uint64_t now_ns);
  // A sentence for each kind that there is.
  std::vector<std::string> warnings() const;

 private:
  std::string_view look_at(const std::string& cgroup_path) const;

  const Members& members_;
  const std::string proc_root_;
  struct Seen {
    std::string_view kind;
    std::string path;
    uint64_t pass = 0;
  };
  std::map<uint64_t, Seen> seen_;  // by cgroup id
  uint64_t pass_ = 0;
  uint64_t next_look_ns_ = 0;
};

}  // namespace sonde
