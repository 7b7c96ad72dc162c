// SPDX-License-Identifier: Apache-2.0
// Which cgroup has which slot. The kernel side gives slots to new directories by itself (core_cgroup_mkdir); here user
// space enters those that were there before, reads who has what, and gives slots back.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/result.h"
#include "agent/kernel/core.h"
#include "sonde/abi.h"
#include "sonde/spans.h"

namespace sonde {

using ModuleFlags = std::array<uint8_t, SONDE_MAX_MODULES>;

struct SlotSetting {
  ModuleFlags flags{};                               // all 0: not measured
  std::array<uint16_t, SONDE_MAX_MODULES> sample{};  // histograms take one operation in so many; 0 and 1: all
  bool per_process = false;                          // its processes get slots of their own
  sonde_span_config spans{};                         // what is recorded as spans; all 0: nothing
};

class Slots {
 public:
  explicit Slots(Core& core) : core_(core), unlinked_(core.sizes().slots), paths_(core.sizes().slots) {}

  // Enters an existing cgroup: with a slot of its own or, for SONDE_KIND_INSIDE, with that of `shared_slot`.
  // Error: no slot is free.
  Result<uint32_t> enter(uint64_t cgroup_id, uint64_t parent_id, const std::string& path, sonde_kind kind,
                         uint32_t shared_slot = 0);
  // Enters an existing cgroup that is not requested: it takes no slot.
  Result<void> ignore(uint64_t cgroup_id, sonde_kind kind);
  // Takes out the entry of a cgroup that went away before it was entered: no event will ever tell of its end.
  void drop(uint64_t cgroup_id);
  // The holder is gone, though the kernel side did not tell.
  void mark_removed(uint32_t slot, uint64_t now_ns);
  // The entry of a cgroup; false if it has none.
  bool find(uint64_t cgroup_id, sonde_subject& entry) const;

  // Rises at every change that the kernel side makes; compare before looking through all.
  uint64_t lifecycle() const;
  // Ring buffer that is rung when the kernel side changed something; a lost ring loses nothing.
  int doorbell_fd() const;

  const sonde_slot_info* info(uint32_t slot) const;  // nullptr: nobody has it
  const sonde_slot_config* config(uint32_t slot) const;
  // Of the cgroup that has it, below the v2 root. The kernel side knows the directory's name only: whoever joined the
  // path is known; otherwise its files are not read. Empty: unknown.
  const std::string& path(uint32_t slot) const { return paths_[slot]; }
  void tell_path(uint32_t slot, std::string path) { paths_[slot] = std::move(path); }
  uint32_t capacity() const { return core_.sizes().slots; }
  // Slots that somebody has, those waiting for their last read included.
  std::vector<uint32_t> taken() const;

  void configure(uint32_t slot, const SlotSetting& setting);
  void set_provisional(const ModuleFlags& flags);
  const sonde_globals& globals() const { return *core_.globals.at<sonde_globals>(0); }
  // Makes every cached answer to "which slot, which flags" stale.
  void raise_generation();

  // Takes the slot from its holder: tasks that ask from now on get another answer. A cgroup that lives on becomes
  // ignored. Once per holder; reused only after give_back(). False: nobody has it.
  bool release(uint32_t slot);
  // Directories inside released containers that live on become ignored, too: one walk for all that were released.
  // To be called before one of them is given back.
  void dissolve();
  // Its rows were read and emptied: it is free.
  void give_back(uint32_t slot);
  // Entries of cgroups that the map did not take: it was full.
  uint64_t update_failures() const { return update_failures_; }

 private:
  void release_process(uint32_t slot, const sonde_slot_info& owner);
  void release_cgroup(uint32_t slot, const sonde_slot_info& owner);
  void unlink_processes(uint32_t slot, uint64_t cgroup_id);

  Core& core_;
  std::set<uint32_t> dissolving_;
  uint64_t update_failures_ = 0;
  std::vector<bool> unlinked_;      // process slots that the table of processes does not lead to any more
  std::vector<std::string> paths_;  // by slot
};

}  // namespace sonde
