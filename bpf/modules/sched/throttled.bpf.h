/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much of a wait for a CPU was due to the quota of the thread's group (CFS bandwidth, cpu.max)? The kernel's run_delay
 * makes no difference; its run queue of the group keeps the sum of the times that it was held up. */
#ifndef SONDE_SCHED_THROTTLED_H
#define SONDE_SCHED_THROTTLED_H

#include <sonde/who.h>

#define SCHED_HELD_UP 2 /* sched_runnable of a thread that left because of it */

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

/* Since 6.18 it is threads that are held up, each on its way back to the program, and no longer whole run queues. */
struct task_struct___since_6_18 {
	bool throttled;
} __attribute__((preserve_access_index));

/* Of a thread that is runnable and runs nowhere: is it the quota that keeps it? */
sonde_inline bool held_up_now(struct task_struct *task)
{
	struct task_struct___since_6_18 *newer = (void *)task;

	if (bpf_core_field_exists(newer->throttled))
		return newer->throttled;
	if (!bpf_core_field_exists(task->se.cfs_rq) || !bpf_core_field_exists(((struct cfs_rq *)0)->throttle_count))
		return false;
	return task->se.cfs_rq->throttle_count > 0;
}

/* What the run queue that it left has been held up for since, if that is still one of its group's. */
sonde_slow uint64_t throttled_where_it_left(struct cfs_rq *queue, struct sonde_task *state)
{
	struct cfs_rq *left;
	uint64_t total;

	if (!queue || !state)
		return 0;
	left = (struct cfs_rq *)state->sched.throttled_on;
	if (!left || !bpf_core_field_exists(queue->throttled_clock_self_time) || BPF_CORE_READ(left, tg) != BPF_CORE_READ(queue, tg))
		return 0;
	total = BPF_CORE_READ(left, throttled_clock_self_time);
	return total > state->sched.throttled ? total - state->sched.throttled : 0;
}

/* Since the last call for this task, at most `wait`. One that is held up as a thread may come to another CPU than it left. */
sonde_inline uint64_t throttled_since(struct task_struct *task, struct sonde_task *state, uint64_t wait)
{
	struct cfs_rq *queue;
	uint64_t total, since = 0;

	if (!bpf_core_field_exists(task->se.cfs_rq))
		return 0;
	queue = task->se.cfs_rq;
	total = throttled_total(queue);
	if (wait && state->sched.throttled_on == (uint64_t)queue && total > state->sched.throttled)
		since = total - state->sched.throttled;
	else if (wait && state->sched.runnable == SCHED_HELD_UP && state->sched.throttled_on != (uint64_t)queue)
		since = throttled_where_it_left(queue, state);
	state->sched.throttled = total;
	state->sched.throttled_on = (uint64_t)queue;
	return since < wait ? since : wait;
}

#endif
