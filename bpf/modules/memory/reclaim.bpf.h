/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reclaim: how long tasks stall in it, what it scans and reclaims, and the OOM kills if it gets nothing. */
#ifndef SONDE_MEMORY_RECLAIM_H
#define SONDE_MEMORY_RECLAIM_H

#include "state.bpf.h"

#include <sonde/span.h>

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
	memory_set_reclaim(state, reclaimer); /* for all tasks: the OOM victim may be a selected one */
	if (!(state->flags[SONDE_MODULE_ID] & MEMORY_FLAG_STALL))
		return 0;
	reclaim.start = bpf_ktime_get_ns();
	reclaim.slot = state->slot;
	if (bpf_map_update_elem(&memory_reclaims, &key, &reclaim, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

__noinline int memory_send_stall(uint32_t slot, uint64_t start, uint64_t end)
{
	struct sonde_span *span = sonde_span_begin(slot, SONDE_SPAN_DIRECT_RECLAIM, start, end, 0);

	if (!span)
		return 0;
	sonde_span_of(span, bpf_get_current_task_btf());
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* Charged to the subject that the task was in when it began. */
sonde_slow int memory_reclaim_ends(struct task_struct *task)
{
	uint64_t key = (uint64_t)task;
	struct memory_reclaim *reclaim;
	uint64_t start, end;
	uint32_t slot;

	if (!task)
		return 0;
	reclaim = bpf_map_lookup_elem(&memory_reclaims, &key);
	if (!reclaim)
		return 0;
	slot = reclaim->slot;
	start = reclaim->start;
	end = bpf_ktime_get_ns();
	sonde_observe(&memory_histograms, slot, MEMORY_STALL, end - start);
	if (sonde_span_due(slot, SONDE_SPAN_DIRECT_RECLAIM, end - start, false))
		memory_send_stall(slot, start, end);
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

/* Has the multi-generational LRU (/sys/kernel/mm/lru_gen/enabled)? Set before loading. */
const volatile bool memory_generations = false;

/* Charged to the reclaimer, regardless of the pages' owner: to counter `first` + enum memory_reclaimer. */
sonde_inline int memory_count_reclaim(uint32_t first, uint64_t pages)
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
	if (row)
		__sync_fetch_and_add(&row[first + reclaimer], memory_bytes(pages));
	return 0;
}

/* Until 6.6 it has a mode before the list. */
struct trace_event_raw_mm_vmscan_lru_isolate___until_6_6 {
	unsigned int isolate_mode;
} __attribute__((preserve_access_index));

/* enum lru_list: inactive and active of anonymous pages, then of files. What is taken from active lists is not scanned for
 * reclaim, but moved (pgrefill). */
sonde_inline int memory_isolated(uint64_t list, uint64_t scanned, uint64_t taken)
{
	if (list & 1)
		return 0;
	/* As the kernel counts them in pgscan: the generations' own count of what they looked at has also what was sorted into
	 * another generation. */
	return memory_count_reclaim(MEMORY_SCANNED, memory_generations ? taken : scanned);
}

/* Arguments: highest zone, order, requested, scanned, skipped, taken, (mode,) list. */
SEC("tp_btf/mm_vmscan_lru_isolate")
int memory_scan(unsigned long long *ctx)
{
	uint64_t list;

	if (bpf_core_field_exists(((struct trace_event_raw_mm_vmscan_lru_isolate___until_6_6 *)0)->isolate_mode)) {
		list = ctx[7];
		asm volatile("" : "+r"(list) : "i"(7)); /* or the compiler makes one load of both, at an offset found at run time */
	} else {
		list = ctx[6];
		asm volatile("" : "+r"(list) : "i"(6));
	}
	return memory_isolated(list, ctx[3], ctx[5]);
}

/* Not what it says was scanned: the generations tell that of the same pages twice where they try some of them again. */
SEC("tp_btf/mm_vmscan_lru_shrink_inactive")
int BPF_PROG(memory_shrink, int node, unsigned long scanned, unsigned long reclaimed)
{
	return memory_count_reclaim(MEMORY_RECLAIMED, reclaimed);
}

/* The victim does not do it, and how long it takes to die is not waited for. */
sonde_slow int memory_send_kill(struct task_struct *victim, uint32_t slot, enum sonde_span_oom_scope scope)
{
	uint64_t now = bpf_ktime_get_ns();
	struct sonde_span *span;

	if (!victim)
		return 0;
	span = sonde_span_begin(slot, SONDE_SPAN_OOM_KILL, now, now, 0);
	if (!span)
		return 0;
	sonde_span_of(span, victim);
	span->detail = scope;
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* The victim's subject. The task that runs is the one whose allocation could not be met: it has reclaimed just before, and
 * how says which limit was hit. The victim is given as a task since 6.8 and in stable kernels. */
SEC("tp_btf/mark_victim")
int BPF_PROG(memory_oom_kill, struct task_struct *victim)
{
	struct sonde_task *state = sonde_task_of(victim), *cause;
	enum sonde_span_oom_scope scope = SONDE_SPAN_OOM_GLOBAL;
	uint32_t slot;

	if (!state || !(state->flags[SONDE_MODULE_ID] & MEMORY_FLAG_OOM))
		return 0;
	slot = state->slot;
	cause = sonde_task_of(bpf_get_current_task_btf());
	if (cause && memory_last_reclaim(cause) == MEMORY_MEMCG + 1)
		scope = SONDE_SPAN_OOM_CGROUP;
	if (scope == SONDE_SPAN_OOM_CGROUP)
		sonde_count(&memory_counters, slot, MEMORY_OOM_MEMCG, 1);
	else
		sonde_count(&memory_counters, slot, MEMORY_OOM_GLOBAL, 1);
	if (sonde_span_threshold(slot, SONDE_SPAN_OOM_KILL))
		memory_send_kill(victim, slot, scope);
	return 0;
}

#endif
