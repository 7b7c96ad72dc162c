// SPDX-License-Identifier: Apache-2.0
// Processes whose work is timed: one that reads a byte at a time, two that hand a byte to and fro on one CPU. They stand
// in a cgroup, wait for a number on a pipe, do that much, and answer with nanoseconds.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace sonde::bench {

class Worker {
 public:
  enum class Kind { Read, Switch };
  Worker(Kind kind, const std::string& cgroup_directory, int cpu);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Nanoseconds for each of `n` calls or switches; negative if the worker has died.
  double run(uint64_t n) const;

 private:
  pid_t child_ = -1;
  int ask_ = -1;
  int answer_ = -1;
};

}  // namespace sonde::bench
