// SPDX-License-Identifier: Apache-2.0
#include "agent/base/file_stamp.h"

#include <sys/stat.h>

#include <cerrno>

#include "agent/base/duration.h"

namespace sonde {

FileStamp stamp_of_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {.failed = errno};
  const auto modified =
      static_cast<uint64_t>(info.st_mtim.tv_sec) * kSecond + static_cast<uint64_t>(info.st_mtim.tv_nsec);
  return {info.st_dev, info.st_ino, info.st_size, modified, 0};
}

}  // namespace sonde
