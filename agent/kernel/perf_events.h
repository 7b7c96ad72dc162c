// SPDX-License-Identifier: Apache-2.0
// Programs that run when a perf event of a CPU overflows: one event and one link per online CPU. An event ends with its CPU: one
// that comes online, for the first time or again, needs another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>

#include "agent/base/fd.h"
#include "agent/base/result.h"

struct bpf_link;
struct bpf_program;

namespace sonde {

// What to count and how many of them make one run of the program.
struct PerfEvent {
  uint32_t type = 0;    // PERF_TYPE_*
  uint64_t config = 0;  // PERF_COUNT_*
  uint64_t period = 1;
};

// "perf_event/software/page-faults-maj", with "/<period>" behind it if it is not 1. Fails for names that it does not know.
Result<PerfEvent> parse_perf_event(std::string_view hook);

class CpuEvents {
 public:
  // Attaches on every CPU that is online; all or nothing. The program must outlive this.
  static Result<CpuEvents> attach(const bpf_program* program, const PerfEvent& event);

  bool empty() const { return cpus_.empty(); }
  // Attaches on CPUs whose event no longer runs (it is asked, not remembered) or that had none, and are online. How many that
  // were: what happened there in between did not run the program. A refusal leaves that CPU to the next time.
  std::size_t follow();

 private:
  struct DestroyLink {
    void operator()(bpf_link* link) const;
  };
  struct OnCpu {
    std::unique_ptr<bpf_link, DestroyLink> link;
    Fd event;               // the same one, to ask it
    uint64_t enabled = 0;   // ns, when it was asked the last time
    uint64_t asked_ns = 0;  // CLOCK_MONOTONIC
  };
  // 0, ENODEV where the CPU is offline, or another errno.
  int attach_to(int cpu);
  static bool runs(OnCpu& on);

  const bpf_program* program_ = nullptr;
  PerfEvent event_;
  std::map<int, OnCpu> cpus_;
};

}  // namespace sonde
