// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What hooks cost before anything is done on them: the measure beside which Sonde's programs are read. */
#include <sonde/bpf.h>

SONDE_LICENSE;

SEC("tp_btf/sys_enter")
int empty_enter(void *context)
{
	return 0;
}

SEC("tp_btf/sys_exit")
int empty_exit(void *context)
{
	return 0;
}

uint64_t last;

SEC("tp_btf/sys_enter")
int clock_enter(void *context)
{
	last = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/sys_exit")
int clock_exit(void *context)
{
	last = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/sched_switch")
int empty_switch(void *context)
{
	return 0;
}
