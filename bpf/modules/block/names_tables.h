// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attribute values of the block probe.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "agent/module/errno_name.h"
#include "bpf/modules/block/block.h"

namespace sonde {

inline constexpr std::array<std::string_view, BLOCK_OPERATIONS> kBlockOperations = {"read", "write", "discard",
                                                                                    "flush"};
inline constexpr std::array<std::string_view, BLOCK_PHASES> kBlockPhases = {"queue", "device"};

// By blk_status_t (include/linux/blk_types.h), the errno that a caller sees. From 14 on the numbers mean other things on
// other kernels.
inline constexpr std::array<std::string_view, 14> kBlockStatus = {
    "",        "EOPNOTSUPP", "ETIMEDOUT", "ENOSPC", "ENOLINK", "EREMOTEIO", "EBADE",
    "ENODATA", "EILSEQ",     "ENOMEM",    "EIO",    "_OTHER",  "EAGAIN",    "EBUSY"};

// `code` as BLOCK_ERROR_CODE gives it.
inline std::string_view block_error_name(uint32_t code) {
  if (code & BLOCK_ERRNO) return errno_name(code & ~BLOCK_ERRNO);
  return code > 0 && code < kBlockStatus.size() ? kBlockStatus[code] : "_OTHER";
}

// Does this /proc/self/cgroup show the io controller (there called blkio) on a v1 hierarchy? "7:blkio:/", "3:cpu,blkio:/x"
inline bool block_controller_is_v1(std::string_view cgroups) {
  while (!cgroups.empty()) {
    std::string_view line = cgroups.substr(0, cgroups.find('\n'));
    cgroups.remove_prefix(std::min(cgroups.size(), line.size() + 1));
    const auto first = line.find(':');
    const auto second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1);
    while (!controllers.empty()) {
      const std::string_view name = controllers.substr(0, controllers.find(','));
      if (name == "blkio") return true;
      controllers.remove_prefix(std::min(controllers.size(), name.size() + 1));
    }
  }
  return false;
}

}  // namespace sonde
