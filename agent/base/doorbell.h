// SPDX-License-Identifier: Apache-2.0
// Wakes a thread that waits for descriptors: an eventfd.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "agent/base/fd.h"

namespace sonde {

class Doorbell {
 public:
  Doorbell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  int fd() const { return fd_.get(); }  // readable once it was rung
  // From any thread or signal handler.
  void ring() const {
    const uint64_t one = 1;
    (void)!::write(fd_.get(), &one, sizeof(one));
  }
  void hush() const {
    uint64_t count = 0;
    (void)!::read(fd_.get(), &count, sizeof(count));
  }

 private:
  const Fd fd_;
};

}  // namespace sonde
