// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/cgroup_verdict.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

namespace sonde::test {

Fd verdict_program(bool egress, bool let_through) {
  const bpf_insn program[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = let_through},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = egress ? BPF_CGROUP_INET_EGRESS : BPF_CGROUP_INET_INGRESS;
  return Fd(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "verdict", "GPL", program, 2, &options));
}

}  // namespace sonde::test
