// SPDX-License-Identifier: Apache-2.0
// Whether a file has been written or replaced since it was last looked at.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace sonde {

// Follows links: it also changes when a link is turned to another file, as in the mount of a ConfigMap. Two writes within
// one tick of the file system's clock leave equal stamps.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = -1;           // not there
  uint64_t modified_ns = 0;  // CLOCK_REALTIME
  int failed = 0;            // errno of stat(2)
  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of_file(const std::string& path);

}  // namespace sonde
