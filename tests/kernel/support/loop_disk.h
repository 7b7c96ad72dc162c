// SPDX-License-Identifier: Apache-2.0
// A file as a disk (loop(4)), and file systems made in files.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "agent/base/fd.h"

namespace sonde::test {

// Runs a command of /sbin too; false if it does not exist or fails.
inline bool run_command(const std::string& command) {
  return std::system(("PATH=$PATH:/sbin:/usr/sbin; " + command + " >/dev/null 2>&1").c_str()) == 0;
}

class LoopDisk {
 public:
  // Not ok() where there are no loop devices.
  explicit LoopDisk(const std::string& image) {
    const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const Fd file(open(image.c_str(), O_RDWR | O_CLOEXEC));
    for (int tries = 0; control && file && tries < 100; ++tries) {  // somebody else may take a free one first
      const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) return;
      const std::string path = "/dev/loop" + std::to_string(number);
      const Fd device(open(path.c_str(), O_RDWR | O_CLOEXEC));
      if (!device) return;
      if (ioctl(device.get(), LOOP_SET_FD, file.get()) == 0) {
        path_ = path;
        return;
      }
      if (errno != EBUSY) return;
    }
  }
  ~LoopDisk() {
    if (ok() && !cleared_) clear();
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  bool ok() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  // Nobody has it mounted.
  bool is_free() const { return static_cast<bool>(Fd(open(path_.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC))); }
  // A device that is in use is cleared when it is used no longer.
  bool clear() {
    const Fd device(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    cleared_ = ioctl(device.get(), LOOP_CLR_FD) == 0;
    return cleared_;
  }
  bool is_cleared() const {
    const Fd device(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    loop_info64 info{};
    return device && ioctl(device.get(), LOOP_GET_STATUS64, &info) < 0 && errno == ENXIO;
  }

 private:
  std::string path_;
  bool cleared_ = false;  // then it may be somebody else's already
};

}  // namespace sonde::test
