/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reclaim: how long tasks stall in it, what it looks at and gets, and whom it kills when it gets nothing. */
#ifndef SONDE_MEMORY_RECLAIM_H
#define SONDE_MEMORY_RECLAIM_H

#include "state.h"

/* Tasks that reclaim now: user space counts them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MEMORY_RECLAIMS);
	__type(key, uint64_t);
	__type(value, struct memory_reclaim);
} memory_reclaims SEC(".maps");

sonde_slow int memory_reclaim_begins(struct task_struct *task, uint32_t reclaimer)
{
	struct memory_reclaim reclaim = {};
	uint64_t key = (uint64_t)task;
	struct sonde_task *state;

	if (!task)
		return 0;
	state = sonde_task_of(task);
	if (!state)
		return 0;
	memory_set_reclaim(state, reclaimer); /* of everybody: whom it makes the kernel kill may be another's */
	if (!(state->flags[SONDE_MODULE_ID] & MEMORY_FLAG_STALL))
		return 0;
	reclaim.start = bpf_ktime_get_ns();
	reclaim.slot = state->slot;
	if (bpf_map_update_elem(&memory_reclaims, &key, &reclaim, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

/* Charged to the subject that the task was in when it began. */
sonde_slow int memory_reclaim_ends(struct task_struct *task)
{
	uint64_t key = (uint64_t)task;
	struct memory_reclaim *reclaim;

	if (!task)
		return 0;
	reclaim = bpf_map_lookup_elem(&memory_reclaims, &key);
	if (!reclaim)
		return 0;
	sonde_observe(&memory_histograms, reclaim->slot, MEMORY_STALL, bpf_ktime_get_ns() - reclaim->start);
	bpf_map_delete_elem(&memory_reclaims, &key);
	return 0;
}

#define MEMORY_RECLAIM_PAIR(name, tracepoint, reclaimer)                             \
	SEC("tp_btf/" tracepoint "_begin")                                           \
	int memory_##name##_begin(void *ctx)                                         \
	{                                                                            \
		return memory_reclaim_begins(bpf_get_current_task_btf(), reclaimer); \
	}                                                                            \
	SEC("tp_btf/" tracepoint "_end")                                             \
	int memory_##name##_end(void *ctx)                                           \
	{                                                                            \
		return memory_reclaim_ends(bpf_get_current_task_btf());              \
	}

MEMORY_RECLAIM_PAIR(direct, "mm_vmscan_direct_reclaim", MEMORY_DIRECT)
MEMORY_RECLAIM_PAIR(memcg, "mm_vmscan_memcg_reclaim", MEMORY_MEMCG)
MEMORY_RECLAIM_PAIR(node, "mm_vmscan_node_reclaim", MEMORY_DIRECT) /* vm.zone_reclaim_mode */

#define PF_KSWAPD 0x00020000 /* include/linux/sched.h */

/* Charged to who reclaims, whosever pages these are. */
SEC("tp_btf/mm_vmscan_lru_shrink_inactive")
int BPF_PROG(memory_shrink, int node, unsigned long scanned, unsigned long reclaimed)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = sonde_task_of(task);
	uint32_t reclaimer = MEMORY_DIRECT, slot;
	uint64_t *row;

	if (!state || !(state->flags[SONDE_MODULE_ID] & MEMORY_FLAG_RECLAIM))
		return 0;
	if (task->flags & PF_KSWAPD)
		reclaimer = MEMORY_KSWAPD;
	else if (memory_last_reclaim(state) == MEMORY_MEMCG + 1)
		reclaimer = MEMORY_MEMCG;
	slot = state->slot;
	row = bpf_map_lookup_elem(&memory_counters, &slot);
	if (!row)
		return 0;
	__sync_fetch_and_add(&row[MEMORY_SCANNED + reclaimer], memory_bytes(scanned));
	__sync_fetch_and_add(&row[MEMORY_RECLAIMED + reclaimer], memory_bytes(reclaimed));
	return 0;
}

/* The victim's subject. The task that runs is the one whose allocation could not be met: it has reclaimed just before, and
 * how says which limit was hit. The victim is given as a task since 6.8 and in stable kernels. */
SEC("tp_btf/mark_victim")
int BPF_PROG(memory_oom_kill, struct task_struct *victim)
{
	struct sonde_task *state = sonde_task_of(victim), *cause;
	uint32_t slot;

	if (!state || !(state->flags[SONDE_MODULE_ID] & MEMORY_FLAG_OOM))
		return 0;
	slot = state->slot;
	cause = sonde_task_of(bpf_get_current_task_btf());
	if (cause && memory_last_reclaim(cause) == MEMORY_MEMCG + 1)
		sonde_count(&memory_counters, slot, MEMORY_OOM_MEMCG, 1);
	else
		sonde_count(&memory_counters, slot, MEMORY_OOM_GLOBAL, 1);
	return 0;
}

#endif
