/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Page faults. Every thread counts its own (maj_flt, min_flt: what getrusage tells), so nothing has to happen at a fault to
 * count it: what they rose by is charged when the thread ends, when it is moved, and at each collection (memory_walk). How long
 * they take is told by the kernel's software events, of which each CPU has its own: one at the start of each fault of a
 * program or on its behalf, one of two when it has been dealt with. They are the same on every architecture. */
#ifndef SONDE_MEMORY_FAULTS_H
#define SONDE_MEMORY_FAULTS_H

#include "state.bpf.h"

#include <sonde/threads.h>

#define MEMORY_FAULTS (MEMORY_FLAG_MAJOR | MEMORY_FLAG_MINOR)
#define FAULTS_ANY_SLOT 0xffffffU /* faults_owner of a thread that has moved: whoever has it next */

SONDE_THREADS(memory);

uint32_t memory_epoch = 0; /* raised by memory_begin before the programs are attached */

sonde_inline uint64_t faults_of(struct task_struct *task)
{
	return (uint64_t)(uint32_t)task->maj_flt << 32 | (uint32_t)task->min_flt;
}

sonde_inline uint32_t faults_owner(struct sonde_task *state)
{
	return (state->slot & 0xffffff) | (uint32_t)(state->flags[SONDE_MODULE_ID] & MEMORY_FAULTS) << 24;
}

/* Its faults from now on are those of whoever has it now. */
sonde_inline void begin_faults(struct sonde_task *state, uint64_t faults)
{
	state->memory.faults = faults;
	state->memory.faults_owner = faults_owner(state);
	state->memory.faults_epoch = memory_epoch;
}

/* Charges what the thread's faults rose by to the subject that had it then, if that has it still. Whoever comes meanwhile, on
 * another CPU, finds it charged. */
sonde_slow int charge_faults(struct task_struct *task, struct sonde_task *state)
{
	uint64_t now, before, *row;
	uint32_t owner, mine, slot;

	if (!task || !state || !memory_epoch)
		return 0;
	now = faults_of(task);
	before = *(volatile uint64_t *)&state->memory.faults;
	if (state->memory.faults_epoch != memory_epoch) { /* its past is not ours */
		begin_faults(state, now);
		return 0;
	}
	owner = state->memory.faults_owner;
	mine = faults_owner(state);
	if (now == before && owner == mine)
		return 0;
	if (__sync_val_compare_and_swap(&state->memory.faults, before, now) != before)
		return 0;
	state->memory.faults_owner = mine;
	slot = mine & 0xffffff;
	if ((owner & 0xffffff) != slot && (owner & 0xffffff) != FAULTS_ANY_SLOT)
		return 0;
	mine &= owner;
	row = bpf_map_lookup_elem(&memory_counters, &slot);
	if (!row)
		return 0;
	if (mine & (MEMORY_FLAG_MAJOR << 24) && (now >> 32) != (before >> 32))
		__sync_fetch_and_add(&row[MEMORY_MAJOR], (uint64_t)((uint32_t)(now >> 32) - (uint32_t)(before >> 32)));
	if (mine & (MEMORY_FLAG_MINOR << 24) && (uint32_t)now != (uint32_t)before)
		__sync_fetch_and_add(&row[MEMORY_MINOR], (uint64_t)((uint32_t)now - (uint32_t)before));
	return 0;
}

/* Run by the agent before the others are attached. */
SEC("raw_tp")
int memory_begin(void *ctx)
{
	memory_epoch++;
	return 0;
}

/* An exited thread: only if its cached owner is still valid, because a new lookup could give a dead process a slot. */
sonde_slow int last_faults(struct task_struct *task)
{
	struct sonde_globals *globals = sonde_global();
	struct sonde_task *state;

	if (!task || !globals)
		return 0;
	state = bpf_task_storage_get(&sonde_tasks, task, 0, 0);
	return state && state->generation == globals->generation ? charge_faults(task, state) : 0;
}

/* Unselected threads get no storage for this. A thread that has some may have been selected before. */
sonde_slow int look_at_faults(struct task_struct *task)
{
	if (!task || !task->pid)
		return 0;
	if (!sonde_may_ask(&memory_answers, task, MEMORY_FAULTS) && !bpf_task_storage_get(&sonde_tasks, task, 0, 0))
		return 0;
	return task->exit_state ? last_faults(task) : charge_faults(task, sonde_task_of(task));
}
SONDE_WALK(memory, memory_walk, look_at_faults)

/* A new thread has none. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(memory_fault_fork, struct task_struct *parent, struct task_struct *child)
{
	struct sonde_task *state;

	if (!memory_epoch || !sonde_may_ask(&memory_answers, child, MEMORY_FAULTS))
		return 0;
	state = sonde_task_of(child);
	if (state)
		begin_faults(state, 0);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(memory_fault_exit, struct task_struct *task)
{
	return look_at_faults(task);
}

/* What it still does at its end, and what is left of one that a walk never met again. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(memory_fault_free, struct task_struct *task)
{
	return last_faults(task);
}

/* Its storage still names the subject that it leaves. */
sonde_slow int leave_with_faults(struct task_struct *task)
{
	struct sonde_task *state;

	if (!task)
		return 0;
	state = bpf_task_storage_get(&sonde_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!state) {
		sonde_lose(SONDE_LOSS_TASK_STORAGE, 1);
		return 0;
	}
	charge_faults(task, state); /* or records a baseline, if it has not been seen yet */
	state->memory.faults_owner |= FAULTS_ANY_SLOT | MEMORY_FAULTS << 24;
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(memory_fault_move, struct cgroup *destination, const char *path, struct task_struct *leader, bool threadgroup)
{
	struct bpf_iter_task threads;
	struct task_struct *task;

	if (destination->root->hierarchy_id != 0 || !memory_epoch)
		return 0;
	if (!threadgroup || !sonde_have_task_iterator)
		return leave_with_faults(leader);
	bpf_iter_task_new(&threads, leader, BPF_TASK_ITER_PROC_THREADS);
	while ((task = bpf_iter_task_next(&threads)))
		leave_with_faults(task);
	bpf_iter_task_destroy(&threads);
	return 0;
}

/* Where no walk shows all threads: as they leave a CPU. */
SEC("tp_btf/sched_switch")
int BPF_PROG(memory_fault_switch, bool preempt, struct task_struct *previous)
{
	return previous->pid && sonde_may_ask(&memory_answers, previous, MEMORY_FAULTS) ? look_at_faults(previous) : 0;
}

SEC("perf_event")
int memory_fault(void *ctx)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_FAULT_TIME);

	if (state)
		memory_set_fault(state, bpf_ktime_get_ns());
	return 0;
}

sonde_inline int memory_faulted(uint32_t histogram)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_FAULT_TIME);
	uint64_t start;

	if (!state)
		return 0;
	start = memory_fault_start(state);
	memory_set_fault(state, 0);
	if (start)
		sonde_observe(&memory_histograms, state->slot, histogram, bpf_ktime_get_ns() - start);
	else
		sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
	return 0;
}

SEC("perf_event")
int memory_fault_major(void *ctx)
{
	return memory_faulted(MEMORY_MAJOR_TIME);
}

SEC("perf_event")
int memory_fault_minor(void *ctx)
{
	return memory_faulted(MEMORY_MINOR_TIME);
}

#endif
