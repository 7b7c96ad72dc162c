// SPDX-License-Identifier: Apache-2.0
// How often a tracepoint was hit, counted by the kernel itself: perf on every CPU. Events of a task (perf's other way) would
// not do: they are switched a little after the task is, and end before it does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/fd.h"

namespace sonde::test {

class TracepointCount {
 public:
  TracepointCount() = default;  // counts nothing
  // "block:block_rq_complete"; the filter in the words of Documentation/trace/events.rst, of common fields too.
  TracepointCount(const std::string& tracepoint, const std::string& filter);

  explicit operator bool() const { return !events_.empty(); }  // the kernel has it, and counts
  uint64_t count() const;                                      // since it was made

 private:
  std::vector<Fd> events_;  // one a CPU
};

// There are machines that run no BPF program in an interrupt that comes over a thread of their process 1: where requests end and
// timers fire. Those hits, of whomever; counts nothing in a virtual machine, where programs see them too.
TracepointCount hits_unseen(const std::string& tracepoint);

}  // namespace sonde::test
