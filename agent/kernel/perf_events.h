// SPDX-License-Identifier: Apache-2.0
// Programs that run when a perf event of a CPU overflows: one event and one link per online CPU.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

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

// Attaches on every CPU that is online; all or nothing. The links are the caller's to destroy.
Result<std::vector<bpf_link*>> attach_perf_event(const bpf_program* program, const PerfEvent& event);

}  // namespace sonde
