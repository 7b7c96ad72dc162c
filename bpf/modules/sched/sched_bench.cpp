// SPDX-License-Identifier: Apache-2.0
// Measured with context switches, as is every probe without a workload of its own.
#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

HookTable switch_table() {
  const std::string queue =
      "tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @q[args->pid] = nsecs; } "
      "tracepoint:sched:sched_switch { if (args->prev_state == 0) { @q[args->prev_pid] = nsecs; } "
      "$n = @q[args->next_pid]; if ($n) { @h = hist(nsecs - $n); } delete(@q[args->next_pid]); }";
  return {.probe = "sched",
          .key = "switch",
          .title = "context switch of a pipe ping-pong",
          .workload = switch_contexts,
          .n = 10'000,
          .empty = {{"an empty program", {"empty_switch"}}},
          .levels = {{Level::Detailed, true}, {Level::Standard, true}, {Level::Standard, false}},
          .tools = {{"libbpf-tools runqlat", {"/usr/sbin/runqlat", "600", "1"}},
                    {"bpftrace, the same question", {"/usr/bin/bpftrace", "-e", queue}}}};
}
const RegisteredHookTable kSwitchTable(switch_table);

}  // namespace
}  // namespace sonde::bench
