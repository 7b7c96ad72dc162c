/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much of a wait for a CPU was due to the quota of the thread's group (CFS bandwidth, cpu.max)? The kernel's run_delay
 * makes no difference; its run queue of the group keeps the sum of the times that it was held up. */
#ifndef SONDE_SCHED_THROTTLED_H
#define SONDE_SCHED_THROTTLED_H

#include <sonde/who.h>

/* throttled_clock_self_time is by the run queue's clock, as run_delay is (677ea015f231, 6.7). Before, there is only a sum for
 * the load tracking (64eaf50731ac, 5.19), whose clock is slower where the CPU is. */
sonde_inline uint64_t throttled_total(struct cfs_rq *queue)
{
	if (bpf_core_field_exists(queue->throttled_clock_self_time))
		return queue->throttled_clock_self_time;
	if (bpf_core_field_exists(queue->throttled_clock_pelt_time))
		return queue->throttled_clock_pelt_time;
	return 0;
}

/* Since the last call for this task, at most `wait`. A thread that comes to another CPU than it left has been held up there
 * for an unknown time: none. */
sonde_inline uint64_t throttled_since(struct task_struct *task, struct sonde_task *state, uint64_t wait)
{
	struct cfs_rq *queue;
	uint64_t total, since = 0;

	if (!bpf_core_field_exists(task->se.cfs_rq))
		return 0;
	queue = task->se.cfs_rq;
	total = throttled_total(queue);
	if (wait && state->throttled_on == (uint64_t)queue && total > state->throttled)
		since = total - state->throttled;
	state->throttled = total;
	state->throttled_on = (uint64_t)queue;
	return since < wait ? since : wait;
}

#endif
