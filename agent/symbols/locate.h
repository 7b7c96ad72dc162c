// SPDX-License-Identifier: Apache-2.0
// Files of containers, opened through what the kernel itself says of their processes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/result.h"
#include "agent/symbols/image.h"

namespace sonde {

struct LocatedFile {
  uint32_t path = 0;  // index of the path asked for
  Fd file;            // a regular file, for reading
  uint32_t pid = 0;   // the process that shows it: the mount it was found on lasts at least as long
  uint64_t device = 0, inode = 0;
  uint64_t size = 0, modified_ns = 0, changed_ns = 0;
  KernelInode kernel;
};

// Which inode the calling process has mapped there.
using InodeOf = std::function<KernelInode(const void* mapping)>;

// Opens each of `paths`, as these processes see them: their program (/proc/<pid>/exe), what they have mapped
// (/proc/<pid>/map_files), and else the path below the process's root, which the kernel keeps from leading out of it. The
// same path may be another file in another process. An empty path stands for their programs and all that they have mapped as
// code. `inode_of` is called in a child process. Error: a file system of theirs does not answer in time; what was found
// until then is kept in `found`.
Result<void> locate_files(const std::string& proc_root, std::span<const uint32_t> pids,
                          std::span<const std::string> paths, std::chrono::milliseconds deadline,
                          const InodeOf& inode_of, std::vector<LocatedFile>& found);

// Does the kernel keep the agent from looking into these processes, all of them? Does not block.
bool may_not_look(const std::string& proc_root, std::span<const uint32_t> pids);

}  // namespace sonde
