// SPDX-License-Identifier: Apache-2.0
// What the kernel side says about one slot: struct sonde_slot_info (bpf/include/sonde/abi.h) as plain C++. The kernel
// layer fills it, identity makes a subject of it.
#pragma once

#include <cstdint>
#include <string>

#include "bpf/include/sonde/abi.h"

namespace sonde {

struct SlotRecord {
  uint32_t slot = 0;
  uint64_t cgroup_id = 0;           // 0: the slot is free
  uint64_t parent_id = 0;           // cgroup id of the parent directory
  uint32_t kind = SONDE_KIND_TREE;  // enum sonde_kind
  uint32_t tgid = 0;                // not 0: one process of the cgroup (process id in the init namespace)
  std::string comm;                 // of that process
  std::string path;                 // of the cgroup below the v2 root; says nothing if tgid is set
  uint64_t created_ns = 0;          // CLOCK_BOOTTIME; 0: older than the agent
  uint64_t removed_ns = 0;          // CLOCK_BOOTTIME of rmdir or exit; 0: it lives

  friend bool operator==(const SlotRecord&, const SlotRecord&) = default;
};

}  // namespace sonde
