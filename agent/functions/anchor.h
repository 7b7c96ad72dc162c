// SPDX-License-Identifier: Apache-2.0
// A process through which a file was found. The kernel lets a probe keep the mount of the path that it was attached by; while
// this process lives that mount is in use anyway, and when it has ended the probe must not be what keeps a file system busy.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "agent/base/fd.h"

namespace sonde {

class Anchor {
 public:
  Anchor(const std::string& proc_root, uint32_t pid);
  // It has ended (a zombie has no mounts any more). Does not block.
  bool gone() const;

 private:
  Fd process_;  // its directory in /proc, which stays that of this process if its number is used again
};
using AnchorPtr = std::shared_ptr<const Anchor>;

// One for each process, whatever was found through it.
class Anchors {
 public:
  explicit Anchors(std::string proc_root) : proc_root_(std::move(proc_root)) {}
  AnchorPtr of(uint32_t pid);

 private:
  std::string proc_root_;
  std::map<uint32_t, std::weak_ptr<const Anchor>> known_;
};

}  // namespace sonde
