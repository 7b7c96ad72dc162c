/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Waits for futexes, from leaving the CPU to being woken. The system call's tracepoints would tax every call of the node;
 * that a task sleeps in futex() is seen at the switch, in its registers. A call that need not wait is none here. */
#ifndef SONDE_LOCKS_FUTEX_H
#define SONDE_LOCKS_FUTEX_H

#include "cycles.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define LOCKS_NR_FUTEX 202
#define locks_syscall(regs) ((regs)->orig_ax)
#define locks_first_argument(regs) ((regs)->di)
#else
#define LOCKS_NR_FUTEX 98
#define locks_syscall(regs) ((regs)->syscallno)
#define locks_first_argument(regs) ((regs)->orig_x0)
#endif
#define LOCKS_NR_FUTEX_WAITV 449
#define LOCKS_NR_FUTEX_WAIT 455

#define LOCKS_INTERRUPTIBLE 1

/* Address of the futex that the task goes to sleep at with this state; 0: it does not. Its own state may be another by now:
 * whoever wakes it changes that before it is off its CPU. */
sonde_inline uint64_t locks_futex_of(struct task_struct *task, unsigned int task_state)
{
	struct pt_regs *regs;
	int64_t number;

	if (!(task_state & LOCKS_INTERRUPTIBLE) || (task->flags & 0x00200000 /* PF_KTHREAD */))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	number = locks_syscall(regs);
	if (number != LOCKS_NR_FUTEX && number != LOCKS_NR_FUTEX_WAIT && number != LOCKS_NR_FUTEX_WAITV)
		return 0;
	return locks_first_argument(regs);
}

/* The thread as its process numbers it. */
sonde_inline uint64_t locks_thread_of(struct task_struct *task)
{
	struct pid *pid = task->thread_pid;
	uint32_t level = pid->level;
	struct upid own = {};

	bpf_probe_read_kernel(&own, sizeof(own), &pid->numbers[level]);
	return (uint64_t)task->tgid << 32 | (uint32_t)own.nr;
}

sonde_inline uint32_t locks_generation(void)
{
	struct sonde_globals *globals = sonde_global();

	return globals ? *(volatile uint32_t *)&globals->generation : 0;
}

sonde_inline void locks_futex_sleep(struct task_struct *task, unsigned int task_state)
{
	struct sonde_task *state = bpf_task_storage_get(&sonde_tasks, task, 0, 0);
	uint64_t futex;

	/* No storage: nobody asked about it since it began; it gets one here only if it is asked for. */
	if (state && !(state->flags[SONDE_MODULE_ID] & (LOCKS_FUTEXES | LOCKS_INVERSIONS)) &&
	    state->generation == locks_generation())
		return;
	futex = locks_futex_of(task, task_state);
	if (!futex)
		return;
	state = sonde_task_of(task);
	if (!state || !(state->flags[SONDE_MODULE_ID] & (LOCKS_FUTEXES | LOCKS_INVERSIONS)))
		return;
	if (state->locks.wait >> LOCKS_HASH_SHIFT) /* the end of its last wait was not seen */
		sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
	state->locks.wait = locks_pack(futex, LOCKS_FUTEX, bpf_ktime_get_ns());
	if ((state->flags[SONDE_MODULE_ID] & LOCKS_INVERSIONS) && locks_closes_cycle(locks_thread_of(task), futex, LOCKS_FUTEX))
		sonde_count(&locks_counters, state->slot, LOCKS_INVERSION + LOCKS_FUTEX, 1);
}

sonde_inline void locks_futex_wake(struct task_struct *task)
{
	struct sonde_task *state = bpf_task_storage_get(&sonde_tasks, task, 0, 0);
	uint64_t pending, waited, thread;

	if (!state)
		return;
	pending = state->locks.wait;
	if (!pending || (pending >> LOCKS_KIND_SHIFT & 7) != LOCKS_FUTEX)
		return;
	waited = (bpf_ktime_get_ns() - pending) & LOCKS_START_MASK;
	state = sonde_task_of(task);
	if (!state)
		return;
	state->locks.wait = 0;
	if (state->flags[SONDE_MODULE_ID] & LOCKS_FUTEXES)
		sonde_observe(&locks_histograms, state->slot, LOCKS_FUTEX, waited);
	if (state->flags[SONDE_MODULE_ID] & LOCKS_INVERSIONS) {
		thread = locks_thread_of(task);
		bpf_map_delete_elem(&locks_waiting, &thread);
	}
}

#endif
