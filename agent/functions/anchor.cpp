// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/anchor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace sonde {

Anchor::Anchor(const std::string& proc_root, uint32_t pid)
    : process_(open((proc_root + "/" + std::to_string(pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

bool Anchor::gone() const {
  char target[8];
  return !process_ ||
         (readlinkat(process_.get(), "exe", target, sizeof(target)) < 0 && (errno == ENOENT || errno == ESRCH));
}

AnchorPtr Anchors::of(uint32_t pid) {
  std::erase_if(known_, [](const auto& one) { return one.second.expired(); });
  std::weak_ptr<const Anchor>& known = known_[pid];
  AnchorPtr anchor = known.lock();
  if (!anchor || anchor->gone()) known = anchor = std::make_shared<const Anchor>(proc_root_, pid);
  return anchor;
}

}  // namespace sonde
