// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Asks for a kfunc and a type that no kernel has. */
#include <sonde/bpf.h>

#include <bpf/bpf_core_read.h>

SONDE_LICENSE;

extern void sonde_is_nowhere_either(void) __ksym __weak;

struct sonde_no_such_type {
	int member;
} __attribute__((preserve_access_index));

SEC("raw_tp")
int absent(struct bpf_raw_tracepoint_args *event)
{
	if (bpf_core_type_exists(struct sonde_no_such_type))
		return 2;
	if (sonde_is_nowhere_either) {
		sonde_is_nowhere_either();
		return 3;
	}
	return 1;
}
