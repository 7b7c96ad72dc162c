// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names of disks by their number, as the kernel has them now. Included by block.cpp and tests alone.
#pragma once

#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "agent/base/clock.h"
#include "agent/module/intern.h"
#include "bpf/modules/block/block.h"

namespace sonde {

// Any thread. A number is looked up again after a while: a disk that was pulled out may give its number to another.
class BlockDevices {
 public:
  explicit BlockDevices(std::string directory = "/sys/dev/block") : directory_(std::move(directory)) {}

  // "nvme0n1"; "259:3" if there is no such disk any more. Lives as long as the program.
  std::string_view name(uint32_t major, uint32_t minor) {
    const std::lock_guard lock(mutex_);
    const uint64_t now = monotonic_ns();
    Known& known = names_[{major, minor}];
    if (!known.name.empty() && now - known.at_ns < kFresh) return known.name;
    const std::string number = std::to_string(major) + ":" + std::to_string(minor);
    std::array<char, 512> target{};
    const ssize_t length = readlink((directory_ + "/" + number).c_str(), target.data(), target.size());
    std::string_view path(target.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    path.remove_prefix(path.rfind('/') + 1);  // npos + 1 is 0
    if (!path.empty()) known.name = intern(path);
    if (known.name.empty()) known.name = intern(number);
    known.at_ns = now;
    return known.name;
  }

 private:
  static constexpr uint64_t kFresh = 10'000'000'000;
  struct Known {
    std::string_view name;
    uint64_t at_ns = 0;
  };
  std::string directory_;
  std::mutex mutex_;
  std::map<std::pair<uint32_t, uint32_t>, Known> names_;
};

}  // namespace sonde
