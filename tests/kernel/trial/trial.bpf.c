// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs that a test runs with the arguments it wants (bpf_prog_test_run). */
#include "tests/kernel/trial/trial.h"
#include <sonde/who.h>

SONDE_LICENSE;
SONDE_ROWS(trial, TRIAL_COUNTERS, 1);
SONDE_KEYED_HISTOGRAM_ROWS(trial);

/* slot, key, ns */
SEC("raw_tp")
int trial_observe(struct bpf_raw_tracepoint_args *ctx)
{
	sonde_observe_key(&trial_keyed, ctx->args[0], ctx->args[1], ctx->args[2]);
	return 0;
}

/* cgroup id, number of events */
SEC("raw_tp")
int trial_count(struct bpf_raw_tracepoint_args *ctx)
{
	uint8_t flags;
	uint32_t slot = sonde_slot_of_cgroup(ctx->args[0], &flags);

	if (flags & TRIAL_FLAG)
		sonde_count(&trial_counters, slot, TRIAL_EVENTS, ctx->args[1]);
	return 0;
}

/* number of events */
SEC("raw_tp")
int trial_node(struct bpf_raw_tracepoint_args *ctx)
{
	if (sonde_flags_of(SONDE_SLOT_NODE) & TRIAL_FLAG_NODE)
		sonde_count(&trial_counters, SONDE_SLOT_NODE, TRIAL_NODE_EVENTS, ctx->args[0]);
	return 0;
}

/* Something to attach. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(trial_exit, struct task_struct *task)
{
	sonde_task_of(task);
	return 0;
}
