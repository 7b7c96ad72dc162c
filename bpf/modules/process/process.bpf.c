/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process probe: processes that begin, become another program, and end. A process is a thread group; threads of a
 * process count nowhere here. No state of its own but one mark on a process's leader. */
#include "process.h"

#include <sonde/rows.h>
#include <sonde/who.h>

SONDE_LICENSE;

SONDE_ROWS(process, PROCESS_COUNTERS, PROCESS_HISTOGRAMS);
SONDE_CELL_ROWS(process);

#define PROCESS_GROUP_EXIT 0x4    /* SIGNAL_GROUP_EXIT, include/linux/sched/signal.h: all threads end with one code */
#define PROCESS_SIGNAL_MASK 0x7f /* of an exit code, as wait(2) shows it; bit 7 says that there is a core dump */
#define PROCESS_STATUS_MASK 0xff00

sonde_inline struct sonde_task *asked(struct task_struct *task, uint8_t flags)
{
	struct sonde_task *state = sonde_task_of(task);

	return state && (state->flags[SONDE_MODULE_ID] & flags) ? state : 0;
}

/* `parent` is who called, also if the child gets another parent (CLONE_PARENT). */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct sonde_task *state;

	if (child->tgid == parent->tgid) /* a thread */
		return 0;
	state = asked(parent, PROCESS_FLAG_FORKS);
	if (state)
		sonde_count(&process_counters, state->slot, PROCESS_FORKS, 1);
	return 0;
}

/* The call cannot fail any more: it runs the new program. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	struct sonde_task *state = asked(task, PROCESS_FLAG_EXECS);

	if (state)
		sonde_count(&process_counters, state->slot, PROCESS_EXECS, 1);
	return 0;
}

/* What wait(2) will say (wait_task_zombie in kernel/exit.c). */
sonde_inline uint32_t exit_code(struct signal_struct *signal, struct task_struct *leader)
{
	return signal->flags & PROCESS_GROUP_EXIT ? signal->group_exit_code : leader->exit_code;
}

sonde_inline void count_exit(uint32_t slot, uint32_t code)
{
	if (code & PROCESS_SIGNAL_MASK)
		sonde_count_key(&process_cells, slot, code & PROCESS_SIGNAL_MASK, 1);
	else if (code & PROCESS_STATUS_MASK)
		sonde_count(&process_counters, slot, PROCESS_EXIT_ERROR, 1);
	else
		sonde_count(&process_counters, slot, PROCESS_EXIT_SUCCESS, 1);
}

/* Whose end it is; false if it is not measured, or counted already: threads that end at once may all see that none is
 * left, so the first leaves a mark on the leader. A leader's storage is only made (which takes more than all the rest)
 * if there are others who could look for the mark, or for the slot of the process itself. */
sonde_inline bool claim(struct signal_struct *signal, struct task_struct *leader, uint32_t *slot, uint8_t *flags)
{
	struct sonde_slot_config *config;
	struct sonde_task *state;

	*slot = sonde_slot_of_cgroup(sonde_cgroup_of(leader), flags);
	if (!(*flags & (PROCESS_FLAG_EXITS | PROCESS_FLAG_LIFETIME)))
		return false;
	config = bpf_map_lookup_elem(&sonde_slot_config, slot);
	if (signal->nr_threads == 1 && config && !config->per_process) {
		state = bpf_task_storage_get(&sonde_tasks, leader, 0, 0);
		return !state || !__sync_val_compare_and_swap(&state->process.exited, 0, 1);
	}
	state = sonde_task_of(leader);
	if (!state || __sync_val_compare_and_swap(&state->process.exited, 0, 1))
		return false;
	*slot = state->slot;
	return true;
}

/* Runs in every thread that ends, as that thread and still in its cgroup: who reaps the process does not matter. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct signal_struct *signal = task->signal;
	struct task_struct *leader = task->group_leader;
	uint32_t slot;
	uint8_t flags;

	if (signal->live.counter || !claim(signal, leader, &slot, &flags)) /* others of its threads live */
		return 0;
	if (flags & PROCESS_FLAG_EXITS)
		count_exit(slot, exit_code(signal, leader));
	if (flags & PROCESS_FLAG_LIFETIME)
		sonde_observe(&process_histograms, slot, PROCESS_LIFETIME,
			      bpf_ktime_get_boot_ns() - leader->start_boottime);
	return 0;
}
