// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The sched probe. The kernel keeps exact figures of every task: time on a CPU, time spent waiting for one, arrivals,
 * migrations, switches. When a task leaves a CPU they stand still, so what they rose by since it left the last time is
 * charged to its subject: no clock, no hook at the wakeup, no table, and a switch that BPF does not see is made up for by
 * the next one. README.md has the rules for tasks seen for the first time. */
#include "sched.h"

#include <sonde/rows.h>
#include <sonde/threads.h>
#include <sonde/who.h>

SONDE_LICENSE;

const volatile bool sonde_have_cast = false;

SONDE_ROWS(sched, SCHED_COUNTERS, SCHED_HISTOGRAMS);
SONDE_THREADS(sched);

#include "thread_time.bpf.h"

#define TASK_RUNNING 0
#define MAX_RT_PRIO 100 /* include/linux/sched/prio.h: below it are SCHED_FIFO, SCHED_RR and SCHED_DEADLINE */
#define LCB_F_SPIN 1 /* include/trace/events/lock.h */

/* Set by sched_begin before the programs are attached. Epoch 0: it never ran, nothing may be counted. */
uint32_t sched_epoch = 0;
uint32_t sched_swaps = 0; /* a page has been swapped in */
uint32_t sched_seeding = 0; /* the epoch has begun and nothing is attached yet */
uint64_t sched_since = 0; /* CLOCK_MONOTONIC of the host */

/* Several waits of which only the sum is known: each counts as the mean, the sum stays exact. */
sonde_slow int observe_merged(uint32_t *index, uint32_t n, uint64_t sum)
{
	struct sonde_histogram *histogram;
	uint32_t row, bucket;

	if (!index || !n)
		return 0;
	row = *(volatile uint32_t *)index;
	if (row == SONDE_NO_ROW)
		row = sonde_take_row(index);
	histogram = row == SONDE_NO_ROW ? 0 : bpf_map_lookup_elem(&sonde_histograms, &row);
	if (!histogram) {
		sonde_lose(SONDE_LOSS_NO_ROW, n);
		return 0;
	}
	bucket = sonde_hist_index(sum / n);
	if (bucket < SONDE_HIST_BUCKETS)
		__sync_fetch_and_add(&histogram->bucket[bucket], n);
	else
		__sync_fetch_and_add(&histogram->overflow, n);
	__sync_fetch_and_add(&histogram->sum, sum);
	sonde_lose(SCHED_LOSS_MERGED, n - 1);
	return 0;
}

sonde_inline void observe_wait(struct sonde_task *state, uint8_t flags, uint32_t n, uint64_t wait)
{
	uint32_t slot = state->slot, *row, *index;

	if ((int64_t)wait < 0) { /* the clocks of two CPUs disagree */
		sonde_lose(SONDE_LOSS_BAD_VALUE, n);
		return;
	}
	row = bpf_map_lookup_elem(&sched_histograms, &slot);
	if (!row)
		return;
	index = &row[SCHED_WAIT];
	if (flags & SCHED_FLAG_CAUSE)
		index = state->sched.runnable ? &row[SCHED_WAIT_PREEMPTION] : &row[SCHED_WAIT_WAKEUP];
	if (n == 1)
		sonde_observe_at(index, wait);
	else
		observe_merged(index, n, wait);
}

sonde_inline void add(uint64_t *counter, uint64_t n)
{
	if (n)
		__sync_fetch_and_add(counter, n);
}

/* Runs, including the present one, whose wait the kernel did not measure: it does not where a task is preempted between
 * announcing its sleep and going to sleep (sched_info_depart). `running`: the present run has not ended. */
sonde_inline uint32_t unmeasured_runs(struct task_struct *task, bool running)
{
	return (uint32_t)task->nvcsw + (uint32_t)task->nivcsw + running - (uint32_t)task->sched_info.pcount;
}

/* A task without figures of this epoch. Born since the epoch began: all of its life counts, from zero. Older: from now
 * on, its past is not ours. */
sonde_slow int first_sight(struct task_struct *task, struct sonde_task *state, bool running)
{
	if (!task || !state)
		return 0;
	__builtin_memset(&state->sched, 0, __builtin_offsetof(struct sched_task, epoch));
	state->sched.runnable = 0;
	state->sched.since = task->start_time;
	state->sched.thread_slot = THREAD_ANY_SLOT;
	state->sched.thread_state = SCHED_THREAD_RUNNABLE;
	if (task->start_time < sched_since) {
		state->sched.since = 0;
		state->sched.exec_runtime = task->se.sum_exec_runtime;
		state->sched.migrations = task->se.nr_migrations;
		state->sched.voluntary = task->nvcsw;
		state->sched.involuntary = task->nivcsw;
		if (bpf_core_field_exists(task->sched_info.run_delay)) {
			state->sched.run_delay = task->sched_info.run_delay;
			state->sched.arrivals = task->sched_info.pcount;
			state->sched.unmeasured = unmeasured_runs(task, running);
		}
	}
	state->sched.epoch = sched_epoch;
	return 0;
}

/* A thread that is older than the epoch and leaves a CPU for the first time in it, where no walk shows the threads that sleep.
 * It has not left one since the epoch began, so until it came here it slept, or waited for what nobody knows any more. Its
 * subject has it since it is measured, or since the thread was moved to it (`moved`, if that is of this epoch). */
sonde_slow int account_for_sleep(struct task_struct *task, struct sonde_task *state, uint64_t moved)
{
	uint64_t since = sched_since, measured, ran;
	struct sonde_slot_config *config;
	uint32_t slot;

	if (!task || !state)
		return 0;
	slot = state->slot;
	config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	if (!config)
		return 0;
	measured = (uint64_t)config->since << SONDE_COARSE_SHIFT;
	if (measured > since)
		since = measured;
	if (moved > since)
		since = moved;
	state->sched.since = since;
	state->sched.thread_state = SCHED_THREAD_SLEEP;
	/* Only the fair class notes what a thread had run when it was put on the CPU. */
	ran = task->se.sum_exec_runtime - task->se.prev_sum_exec_runtime;
	if (task->prio >= MAX_RT_PRIO && ran < bpf_ktime_get_ns() - sched_since)
		state->sched.exec_runtime -= ran;
	return 0;
}

/* Charges what the task's own figures rose by since the last time to the subject that has it now. Only for a task that
 * runs on this CPU or is just leaving it: nobody else may write these fields. The time, if it was needed, else 0. */
sonde_inline uint64_t account(struct task_struct *task, struct sonde_task *state, bool running)
{
	uint8_t flags = state->flags[SONDE_MODULE_ID];
	uint32_t slot = state->slot, voluntary, involuntary, migrations, arrivals = 0, unmeasured, left;
	uint64_t exec, wait = 0, value, now = 0, *row;
	struct sched_stretch stretch = {};

	if (state->sched.epoch != sched_epoch) {
		value = state->sched.since;
		first_sight(task, state, running);
		if (!running && (flags & SCHED_FLAG_THREAD) && task->start_time < sched_since)
			account_for_sleep(task, state, value);
	}

	value = task->se.sum_exec_runtime;
	exec = value - state->sched.exec_runtime;
	state->sched.exec_runtime = value;
	migrations = (uint32_t)task->se.nr_migrations - state->sched.migrations;
	state->sched.migrations += migrations;
	voluntary = (uint32_t)task->nvcsw - state->sched.voluntary;
	state->sched.voluntary += voluntary;
	involuntary = (uint32_t)task->nivcsw - state->sched.involuntary;
	state->sched.involuntary += involuntary;
	left = voluntary + involuntary - !running;
	if (bpf_core_field_exists(task->sched_info.run_delay)) {
		value = task->sched_info.run_delay;
		wait = value - state->sched.run_delay;
		state->sched.run_delay = value;
		arrivals = (uint32_t)task->sched_info.pcount - state->sched.arrivals;
		state->sched.arrivals += arrivals;
		unmeasured = unmeasured_runs(task, running);
		left = arrivals + unmeasured - state->sched.unmeasured;
		if (unmeasured != state->sched.unmeasured) {
			if ((flags & (SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE)) && (int32_t)(unmeasured - state->sched.unmeasured) > 0)
				sonde_lose(SONDE_LOSS_UNMEASURED, unmeasured - state->sched.unmeasured);
			state->sched.unmeasured = unmeasured;
		}
	}
	if (flags & (SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE | SCHED_FLAG_THREAD)) {
		stretch.throttled = throttled_since(task, state, (int64_t)wait < 0 ? 0 : wait);
		wait -= stretch.throttled;
	}
	if (flags & SCHED_FLAG_THREAD) {
		stretch.exec = exec;
		stretch.wait = (int64_t)wait < 0 ? 0 : wait; /* counted as lost where it would be put into the histogram */
		stretch.arrivals = left;
		now = charge_thread_time(task, state, &stretch);
	} else if (state->sched.since) {
		state->sched.since = 0;
	}
	if (!flags)
		return now;

	if (arrivals && (flags & (SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE)))
		observe_wait(state, flags, arrivals, wait);
	if (!(flags & (SCHED_FLAG_SWITCHES | SCHED_FLAG_ONCPU | SCHED_FLAG_MIGRATIONS)))
		return now;
	row = bpf_map_lookup_elem(&sched_counters, &slot);
	if (!row)
		return now;
	if (flags & SCHED_FLAG_ONCPU)
		add(&row[SCHED_ONCPU], exec);
	if (flags & SCHED_FLAG_SWITCHES) {
		add(&row[SCHED_VOLUNTARY], voluntary);
		add(&row[SCHED_INVOLUNTARY], involuntary);
	}
	if (flags & SCHED_FLAG_MIGRATIONS)
		add(&row[SCHED_MIGRATIONS], migrations);
	return now;
}

/* As account(), where an interrupt or a switch may come between: whoever finds it busy leaves it to the next time. */
sonde_slow int account_running(struct task_struct *task, struct sonde_task *state)
{
	if (!task || !state || *(volatile uint8_t *)&state->sched.busy)
		return 0;
	*(volatile uint8_t *)&state->sched.busy = 1;
	account(task, state, true);
	state->sched.thread_state = SCHED_THREAD_RUNNING;
	*(volatile uint8_t *)&state->sched.busy = 0;
	return 0;
}

sonde_inline uint32_t reason_to_leave(struct task_struct *task, struct sonde_task *state, bool preempt)
{
	uint32_t asleep = sonde_task_state(task);

	if (preempt || asleep == TASK_RUNNING)
		return SCHED_THREAD_RUNNABLE;
	if (asleep & TASK_DEAD) {
		state->sched.since = 0;
		return SCHED_THREAD_OTHER;
	}
	return wait_reason(task, asleep, state->sched.in_lock, state->sched.swap_in);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *previous, struct task_struct *next)
{
	struct sonde_task *state;
	uint64_t now = 0;

	if (!previous->pid) { /* the idle task */
		if (sched_threads)
			note_arrival(next, bpf_ktime_get_ns());
		return 0;
	}
	state = sonde_task_of(previous);
	if (!state || !sched_epoch)
		return 0;
	if (!state->sched.busy)
		now = account(previous, state, false);
	if (now) {
		note_arrival(next, now);
		state->sched.thread_state = reason_to_leave(previous, state, preempt);
	}
	if (preempt || sonde_task_state(previous) == TASK_RUNNING)
		state->sched.runnable = held_up_now(previous) ? SCHED_HELD_UP : 1;
	else
		state->sched.runnable = 0;
	return 0;
}

/* Tells one lock from others, by and large; never 0. */
sonde_inline uint8_t mark_of_lock(void *lock)
{
	return ((uint64_t)lock >> 3) * 0x9e3779b97f4a7c15ULL >> 56 | 1;
}

/* A lock of the kernel for which this task is going to sleep: once, or again and again while others are quicker. */
SEC("tp_btf/contention_begin")
int BPF_PROG(sched_lock, void *lock, unsigned int how)
{
	struct sonde_task *state;

	if (how & LCB_F_SPIN)
		return 0;
	state = bpf_task_storage_get(&sonde_tasks, bpf_get_current_task_btf(), 0, 0);
	if (state && (state->flags[SONDE_MODULE_ID] & SCHED_FLAG_THREAD))
		state->sched.in_lock = mark_of_lock(lock);
	return 0;
}

/* It has it. Ends of spinning, also of interrupts, come by here too: those are other locks. */
SEC("tp_btf/contention_end")
int BPF_PROG(sched_locked, void *lock)
{
	struct sonde_task *state = bpf_task_storage_get(&sonde_tasks, bpf_get_current_task_btf(), 0, 0);

	if (state && state->sched.in_lock && state->sched.in_lock == mark_of_lock(lock))
		state->sched.in_lock = 0;
	return 0;
}

/* A block device request, in the requester's context. If it is for a page of swap, what this thread waits for in the page fault
 * that it is in is memory. Any other request after it takes that back, since a thread that reads swapped pages of tmpfs by
 * system call is in no fault; but not what goes out in reclaim, to make room for the pages that come in. Where nobody swaps in,
 * no request costs more than checking the flags of its page. */
SEC("tp_btf/block_bio_queue")
int BPF_PROG(sched_swap, struct bio *bio)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state;
	bool swap_in = sonde_is_swap_in(bio);

	if ((!swap_in && (!sched_swaps || (task->flags & PF_MEMALLOC))) || (bio->bi_flags & BIO_CLONED_BIT))
		return 0;
	state = bpf_task_storage_get(&sonde_tasks, task, 0, 0);
	if (!state)
		return 0;
	state->sched.swap_in = swap_in ? swap_mark(task) : 0;
	if (swap_in && !sched_swaps)
		sched_swaps = 1;
	return 0;
}

/* Makes the child's storage here, where memory may be asked for, instead of under the run queue's lock. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_fork, struct task_struct *parent, struct task_struct *child)
{
	struct sonde_task *state = sonde_task_of(child);

	/* So that it is one of its subject's before it first leaves a CPU. It does not run yet. */
	if (state && sched_epoch && state->sched.epoch != sched_epoch)
		first_sight(child, state, false);
	return 0;
}

/* What it slept so far belongs to the subject that it leaves. Its other threads are the new one's from the next time that
 * they leave a CPU, or the next collection. */
sonde_slow int moved_by_another(struct task_struct *leader)
{
	struct sonde_task *state;

	if (!leader)
		return 0;
	state = bpf_task_storage_get(&sonde_tasks, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!state)
		return 0;
	if (state->sched.epoch != sched_epoch) { /* not seen yet: account_for_sleep() */
		state->sched.since = bpf_ktime_get_ns();
		return 0;
	}
	charge_sleeper(leader, state);
	if (state->sched.since)
		state->sched.thread_slot = THREAD_ANY_SLOT;
	return 0;
}

/* A process that moves itself: what it did so far belongs to the subject that it leaves. Its storage still names that
 * one; what has been moved while it was off the CPU has nothing to divide. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(sched_move, struct cgroup *destination, const char *path, struct task_struct *leader)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state;

	if (destination->root->hierarchy_id != 0 || !sched_epoch)
		return 0;
	if (leader->tgid != task->tgid)
		return moved_by_another(leader);
	state = bpf_task_storage_get(&sonde_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (state && !account_running(task, state))
		state->sched.thread_slot = THREAD_ANY_SLOT; /* what comes is the next one's */
	if (!state)
		sonde_lose(SONDE_LOSS_TASK_STORAGE, 1);
	return 0;
}

/* Wakeups that find the task still on its way to sleep count too. */
sonde_inline int count_wakeup(struct task_struct *task)
{
	struct sonde_task *state = sonde_task_of(task);

	if (state && (state->flags[SONDE_MODULE_ID] & SCHED_FLAG_WAKEUPS))
		sonde_count(&sched_counters, state->slot, SCHED_WAKEUPS, 1);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(sched_wakeup, struct task_struct *task)
{
	return count_wakeup(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(sched_wakeup_new, struct task_struct *task)
{
	return count_wakeup(task);
}

/* The rest is never attached: user space runs it. */

/* Before the programs are attached: figures in task storage are of an earlier epoch now. */
SEC("raw_tp")
int sched_begin(void *ctx)
{
	sched_since = bpf_ktime_get_ns();
	sched_epoch++;
	sched_threads = 0;
	sched_seeding = 1;
	return 0;
}

/* Then, and at each collection, on every thread of the machine: notes where those stand that are older than the epoch, and
 * charges those that sleep for it up to now. */
sonde_slow int look_at(struct task_struct *task)
{
	struct sonde_task *state;

	if (!task || !task->pid || task->exit_state || !sched_epoch)
		return 0;
	state = sonde_task_of(task);
	if (!state)
		return 0;
	if (state->sched.epoch != sched_epoch) {
		if (!sched_seeding) /* while programs are attached only they may, on the thread's own CPU */
			return 0;
		first_sight(task, state, task->on_cpu);
	}
	if (state->flags[SONDE_MODULE_ID] & SCHED_FLAG_THREAD)
		charge_sleeper(task, state);
	else if (state->sched.since && !task->on_cpu)
		state->sched.since = 0;
	return 0;
}
SONDE_WALK(sched, sched_walk, look_at)

/* On every CPU, by interrupt: a task that does not leave its CPU is charged what it did up to now. */
SEC("raw_tp")
int sched_flush(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state;

	if (sched_seeding)
		sched_seeding = 0;
	if (!task->pid || !sched_epoch)
		return 0;
	state = sonde_task_of(task);
	if (state)
		account_running(task, state);
	return 0;
}
