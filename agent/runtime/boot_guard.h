// SPDX-License-Identifier: Apache-2.0
// Keeps a node alive on which attaching would end the kernel. Before anything is loaded, the boot is noted in a file
// that outlives it; when the agent has been attached for five minutes, or ends in order, that is noted too. A boot
// whose note lacks this ended with the node. After two such boots, one after the other, the agent of this version on
// this kernel attaches nothing any more.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/base/result.h"
#include "agent/runtime/obstacle.h"

namespace sonde {

struct BootGuardOptions {
  std::string directory;  // where the file is; empty: there is no guard
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  std::string agent, kernel;  // versions; empty: those of this agent and this machine
};

class BootGuard {
 public:
  static constexpr uint32_t kReboots = 2;
  static constexpr uint64_t kSettlesNs = 300'000'000'000;

  explicit BootGuard(BootGuardOptions options);

  // Reads only.
  std::optional<Obstacle> obstacle() const;
  // On the disk when this returns. Error: it cannot be written; then there is no guard.
  Result<void> attaching();
  // Cheap. By the loop, with CLOCK_BOOTTIME.
  void tick(uint64_t now_ns);
  // The agent ends in order.
  void detached();

  std::string path() const;

 private:
  struct Note {
    std::string boot_id, agent, kernel;
    bool settled = true;   // it did not end with a reboot, or not so soon
    uint32_t reboots = 0;  // soon after attaching, one after the other, before this boot
  };
  Note read() const;
  Note now() const;
  Result<void> write(const Note& note) const;
  void settle();

  BootGuardOptions options_;
  std::string boot_id_;
  uint64_t attached_ns_ = 0;  // 0: nothing is to be noted any more
};

}  // namespace sonde
