// SPDX-License-Identifier: Apache-2.0
// Many containers as far as the kernel sees them: cgroup directories with the names a runtime gives, and one process
// that moves through all of them in each round and does file work in each. All is gone again afterwards, and what a
// killed run left behind is cleared away at the next start.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "agent/base/result.h"

namespace sonde::bench {

class Containers {
 public:
  // Forks its worker: make it before threads are started.
  static Result<Containers> prepare();
  Containers(Containers&& other) noexcept;
  Containers(const Containers&) = delete;
  ~Containers();

  // So many directories from now on; only ever grows.
  Result<void> grow(uint32_t count);
  // A round each `period_ns` until rest().
  void work(uint64_t period_ns);
  // Returns when the worker has left the directories: the duration of its longest round in ns.
  uint64_t rest();

 private:
  Containers(std::string root, pid_t worker, int ask, int answer)
      : root_(std::move(root)), worker_(worker), ask_(ask), answer_(answer) {}

  std::string root_;
  pid_t worker_ = -1;
  int ask_ = -1, answer_ = -1;
  uint32_t count_ = 0;
};

}  // namespace sonde::bench
