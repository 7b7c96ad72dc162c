// SPDX-License-Identifier: Apache-2.0
// Measured with reads of one byte, which cost little themselves.
#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

const Load kLoad("io", read_bytes, 20'000, "read(2) of one byte of a file");

HookTable read_table() {
  const std::string histogram =
      "tracepoint:raw_syscalls:sys_enter { @s[tid] = nsecs; } tracepoint:raw_syscalls:sys_exit "
      "/@s[tid]/ { @h[cgroup] = hist(nsecs - @s[tid]); delete(@s[tid]); }";
  return {
      .probe = "io",
      .key = "read",
      .title = "read(2) of one byte of a file",
      .workload = read_bytes,
      .n = 20'000,
      .empty = {{"two empty programs", {"empty_enter", "empty_exit"}},
                {"the same with a clock read each", {"clock_enter", "clock_exit"}}},
      .levels = {{Level::Standard, true}, {Level::Standard, false}, {Level::Detailed, true}, {Level::Minimal, true}},
      .tools = {{"libbpf-tools syscount -L", {"/usr/sbin/syscount", "-L", "-i", "600"}},
                {"bpftrace, the same question", {"/usr/bin/bpftrace", "-e", histogram}}}};
}
const RegisteredHookTable kReadTable(read_table);

}  // namespace
}  // namespace sonde::bench
