// SPDX-License-Identifier: Apache-2.0
// A process whose work is timed. It stands in a cgroup, on one CPU with those that it needs, waits for a number on a pipe,
// does that much, and answers with nanoseconds.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "tests/bench/workloads.h"

namespace sonde::bench {

class Worker {
 public:
  Worker(Workload workload, const std::string& cgroup_directory, int cpu);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Nanoseconds for each of `n` pieces of work; negative if this machine cannot do it.
  double run(uint64_t n) const;
  pid_t pid() const { return child_; }

 private:
  pid_t child_ = -1;
  int ask_ = -1;
  int answer_ = -1;
};

}  // namespace sonde::bench
