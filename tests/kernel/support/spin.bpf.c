// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Keeps a CPU in the kernel, as a reader of RCU, for so many nanoseconds: BPF_PROG_TEST_RUN with {ns}. The kernel takes that
 * for a stall when it lasts. */
#include <sonde/bpf.h>

SONDE_LICENSE;

static long is_over(uint64_t i, uint64_t *until)
{
	return bpf_ktime_get_ns() > *until;
}

SEC("raw_tp")
int spin(struct bpf_raw_tracepoint_args *event)
{
	uint64_t until = bpf_ktime_get_ns() + event->args[0];
	int i;

	for (i = 0; i < 32 && bpf_ktime_get_ns() <= until; i++)
		bpf_loop(1 << 23, is_over, &until, 0);
	return 0;
}
