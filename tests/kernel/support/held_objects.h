// SPDX-License-Identifier: Apache-2.0
// The BPF programs and links that a process holds, by the kernel's own lists: what an agent in it has in the kernel.
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "agent/base/fd.h"

namespace sonde::test {

struct HeldObjects {
  std::set<uint32_t> programs;      // ids
  std::set<uint32_t> cgroup_links;  // ids; they are also counted in `links`
  int links = 0;                    // and perf events
};

// `process`: "self" or a PID. Its descriptors may come and go meanwhile.
inline HeldObjects held_objects(const std::string& process = "self") {
  HeldObjects all;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + process + "/fd", gone)) {
    const std::string name = std::filesystem::read_symlink(entry.path(), gone).string();
    all.links += name.find("bpf_link") != std::string::npos || name.find("perf_event") != std::string::npos;
    if (name.find("bpf-prog") == std::string::npos && name.find("bpf_link") == std::string::npos) continue;
    std::ifstream info("/proc/" + process + "/fdinfo/" + entry.path().filename().string());
    bool program = name.find("bpf-prog") != std::string::npos, cgroup = false;
    for (std::string key, value; info >> key >> value;) {
      if (key == "link_type:") cgroup = value == "cgroup";
      if (key == "link_id:" && cgroup) all.cgroup_links.insert(static_cast<uint32_t>(std::stoul(value)));
      if (key == "prog_id:" && program) all.programs.insert(static_cast<uint32_t>(std::stoul(value)));
    }
  }
  return all;
}

// The cgroup links of this process, opened by their ids as another program would.
inline std::vector<Fd> cgroup_links() {
  std::vector<Fd> links;
  for (const uint32_t id : held_objects().cgroup_links) links.emplace_back(bpf_link_get_fd_by_id(id));
  return links;
}

}  // namespace sonde::test
