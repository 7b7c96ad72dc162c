/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Thread time by state: every nanosecond of every thread of a subject, once.
 *
 * `since` in the task's storage is the time up to which the thread is accounted for. Whoever charges takes the stretch
 * [that time, now) by exchanging it, so no stretch is charged twice: the thread's own CPU, when it leaves it or at a
 * collection; and the walk over all threads at a collection, for those that sleep (sched_walk).
 * A stretch that ends when the thread leaves a CPU consists of a wait whose reason was read when it left before
 * (thread_state), of waiting for a CPU, which the kernel has measured, and of running, since the thread before it left this
 * CPU. No clock is read at wakeups, and one at a switch. */
#ifndef SONDE_SCHED_THREAD_TIME_H
#define SONDE_SCHED_THREAD_TIME_H

#include "throttled.bpf.h"
#include "wait_reason.bpf.h"

#include <sonde/rows.h>

/* thread_slot of a thread that moved to another subject and was accounted for just then. */
#define THREAD_ANY_SLOT 0xffffffff

/* When did the thread that runs here arrive? Only known if the one before it was the idle task or is measured, too: for the
 * others no clock is read. */
struct sched_arrival {
	uint64_t task;
	uint64_t at;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sched_arrival);
} sched_arrivals SEC(".maps");

uint32_t sched_threads = 0; /* thread time is requested: arrivals after the idle task are recorded */

sonde_inline void note_arrival(struct task_struct *task, uint64_t now)
{
	uint32_t zero = 0;
	struct sched_arrival *arrival = bpf_map_lookup_elem(&sched_arrivals, &zero);

	if (!arrival)
		return;
	arrival->task = (uint64_t)task;
	arrival->at = now;
}

sonde_inline uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

sonde_inline void add_thread_time(uint64_t *row, uint32_t state, uint64_t ns)
{
	if (!ns || state >= SCHED_THREAD_STATES)
		return;
	/* Older verifiers forget what was found out about a spilled value, so the bound is said again: the row is long enough. */
	barrier_var(state);
	__sync_fetch_and_add(&row[SCHED_THREAD + (state & 15)], ns);
}
SONDE_ASSERT(SCHED_THREAD_STATES <= 16 && SCHED_THREAD + 16 <= SCHED_COUNTERS, "any masked index is inside the row");

/* How much of a stretch of `length` that ends now did the thread run? `exec`: what the kernel charged it for since. */
sonde_inline uint64_t time_running(struct task_struct *task, struct sonde_task *state, uint64_t since, uint64_t now,
				   uint64_t exec, uint32_t arrivals)
{
	uint32_t zero = 0;
	struct sched_arrival *arrival;

	if (state->sched.thread_state == SCHED_THREAD_RUNNING && !arrivals) /* it was accounted for in this same run */
		return now - since;
	arrival = bpf_map_lookup_elem(&sched_arrivals, &zero);
	if (arrivals <= 1 && arrival && arrival->task == (uint64_t)task && arrival->at >= since && arrival->at <= now)
		return now - arrival->at;
	return min_of(exec, now - since);
}

/* What the kernel's figures of a task rose by since it was accounted for the last time. */
struct sched_stretch {
	uint64_t exec;      /* ns on a CPU */
	uint64_t wait;      /* ns waiting for one */
	uint64_t throttled; /* ns that its quota held it up */
	uint64_t arrivals;  /* on a CPU */
};

/* For a task that runs on this CPU or is just leaving it. The time. */
sonde_slow uint64_t charge_thread_time(struct task_struct *task, struct sonde_task *state, struct sched_stretch *stretch)
{
	uint64_t now = bpf_ktime_get_ns(), since, running, waiting, throttled, *row;
	uint32_t slot;

	if (!task || !state || !stretch)
		return now;
	slot = state->slot;
	if (!sched_threads)
		sched_threads = 1;
	since = __sync_lock_test_and_set(&state->sched.since, now);
	if (state->sched.thread_slot == THREAD_ANY_SLOT)
		state->sched.thread_slot = slot;
	if (!since || state->sched.thread_slot != slot) { /* it became this subject's: from now on */
		state->sched.thread_slot = slot;
		return now;
	}
	row = bpf_map_lookup_elem(&sched_counters, &slot);
	if (!row || since >= now)
		return now;
	running = time_running(task, state, since, now, stretch->exec, stretch->arrivals);
	throttled = min_of(stretch->throttled, now - since - running);
	waiting = min_of(stretch->wait, now - since - running - throttled);
	add_thread_time(row, SCHED_THREAD_RUNNING, running);
	add_thread_time(row, SCHED_THREAD_RUNNABLE, waiting);
	add_thread_time(row, SCHED_THREAD_STOPPED, throttled);
	add_thread_time(row, state->sched.thread_state, now - since - running - waiting - throttled);
	return now;
}

/* A thread that is off the CPU: charged for its sleep up to now, or first met. Nobody else knows how long it will be. */
sonde_inline int charge_sleeper(struct task_struct *task, struct sonde_task *state)
{
	uint64_t since = *(volatile uint64_t *)&state->sched.since, now, *row;
	uint32_t slot = state->slot, asleep, reason = state->sched.thread_state;
	bool known = since && (state->sched.thread_slot == slot || state->sched.thread_slot == THREAD_ANY_SLOT);

	if (task->on_cpu) /* it is charged there */
		return 0;
	asleep = sonde_task_state(task);
	if (!known || reason == SCHED_THREAD_RUNNING)
		reason = asleep ? wait_reason(task, asleep, 0, state->sched.swap_in) : SCHED_THREAD_RUNNABLE;
	else if (reason != SCHED_THREAD_RUNNABLE && (!asleep || asleep == TASK_WAKING))
		return 0; /* it waits for a CPU by now, since when is not known: all of it when it leaves that CPU */
	if (reason == SCHED_THREAD_RUNNABLE && held_up_now(task))
		reason = SCHED_THREAD_STOPPED;
	now = bpf_ktime_get_ns();
	/* Whoever came meanwhile has charged it. */
	if (now <= since || __sync_val_compare_and_swap(&state->sched.since, since, now) != since)
		return 0;
	if (!known) {
		state->sched.thread_state = asleep ? reason : SCHED_THREAD_RUNNABLE;
		state->sched.thread_slot = slot;
		return 0;
	}
	row = bpf_map_lookup_elem(&sched_counters, &slot);
	if (row)
		add_thread_time(row, reason, now - since);
	return 0;
}

#endif
