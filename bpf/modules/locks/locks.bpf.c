// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The locks probe: time that tasks wait for locks, of the kernel and of programs (futexes). README.md says which hooks. */
#include "futex.bpf.h"
#include "names.bpf.h"
#include "stalls.bpf.h"

#include <sonde/span.h>

SONDE_LICENSE;

struct locks_hold_key {
	uint64_t task;
	uint64_t lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LOCKS_HELD);
	__type(key, struct locks_hold_key);
	__type(value, uint64_t); /* CLOCK_MONOTONIC ns */
} locks_held SEC(".maps");

SEC("tp_btf/contention_begin")
int BPF_PROG(locks_contention_begin, void *lock, unsigned int lock_flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	uint32_t kind = locks_kind_of(lock_flags);
	struct sonde_task *state;
	uint64_t before;
	uint8_t flags;

	if (kind == LOCKS_SPINLOCK || kind == LOCKS_RWLOCK) {
		locks_spin_begin((uint64_t)lock, kind);
		return 0;
	}
	state = sonde_task_of(task);
	if (!state)
		return 0;
	flags = state->flags[SONDE_MODULE_ID];
	if (!(flags & LOCKS_OF_KERNEL))
		return 0;
	before = state->locks.wait;
	if (before >> LOCKS_HASH_SHIFT == locks_hash((uint64_t)lock)) /* a mutex first spins, then sleeps, then spins */
		return 0;
	if (before) /* a wait within a wait, or one whose end was not seen: only one is kept */
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	state->locks.wait = locks_pack((uint64_t)lock, kind, bpf_ktime_get_ns());
	if ((flags & LOCKS_INVERSIONS) && (kind == LOCKS_MUTEX || kind == LOCKS_RWSEM) &&
	    locks_closes_cycle(bpf_get_current_task(), (uint64_t)lock, kind))
		sonde_count(&locks_counters, state->slot, LOCKS_INVERSION + (kind == LOCKS_RWSEM ? LOCKS_RWSEM : LOCKS_MUTEX), 1);
	return 0;
}

sonde_inline bool locks_spin_end(void *ctx, uint64_t lock)
{
	uint64_t now = bpf_ktime_get_ns();
	struct locks_spin ended = {};
	struct locks_spins *spins;
	uint32_t zero = 0;
	uint8_t flags;
	int i;

	spins = bpf_map_lookup_elem(&locks_spinning, &zero);
	if (!spins)
		return false;
	for (i = LOCKS_SPINS - 1; i >= 0; i--) {
		if (spins->wait[i].lock != lock)
			continue;
		ended = spins->wait[i];
		spins->wait[i].lock = 0;
		break;
	}
	if (!ended.lock)
		return false;
	flags = sonde_flags_of(ended.slot);
	if (flags & LOCKS_WAITS)
		locks_observe_spin(ended.slot, ended.kind, now - ended.start);
	if (flags & LOCKS_NAMES)
		locks_count_name(ctx, lock, ended.slot, ended.kind, now - ended.start);
	return true;
}

sonde_inline void locks_hold(uint64_t task, uint64_t lock, uint64_t now)
{
	struct locks_hold_key key = {.task = task, .lock = lock};

	if (bpf_map_update_elem(&locks_held, &key, &now, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
}

/* Only of locks that sleep: the ring takes one that spins. */
__noinline int locks_send_span(uint32_t slot, uint32_t kind, uint64_t start, uint64_t end, int64_t result)
{
	struct sonde_span *span = sonde_span_begin(slot, SONDE_SPAN_LOCK_WAIT, start, end, -result);

	if (!span)
		return 0;
	sonde_span_of(span, bpf_get_current_task_btf());
	span->detail = kind;
	bpf_ringbuf_submit(span, 0);
	return 0;
}

SEC("tp_btf/contention_end")
int BPF_PROG(locks_contention_end, void *lock, int result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state;
	uint64_t pending, now, waited, self = bpf_get_current_task();
	uint32_t kind;
	uint8_t flags;

	if (locks_spin_end(ctx, (uint64_t)lock))
		return 0;
	state = bpf_task_storage_get(&sonde_tasks, task, 0, 0);
	if (!state)
		return 0;
	pending = state->locks.wait;
	kind = pending >> LOCKS_KIND_SHIFT & 7;
	if (!pending || kind == LOCKS_FUTEX || pending >> LOCKS_HASH_SHIFT != locks_hash((uint64_t)lock))
		return 0; /* a lock whose waiting nobody asked for, or began before the probe did */
	now = bpf_ktime_get_ns();
	waited = (now - pending) & LOCKS_START_MASK;
	state = sonde_task_of(task); /* a sleeping lock: recomputing an answer does no harm */
	if (!state)
		return 0;
	state->locks.wait = 0;
	flags = state->flags[SONDE_MODULE_ID];
	if (flags & LOCKS_WAITS)
		sonde_observe(&locks_histograms, state->slot, kind, waited);
	if ((flags & LOCKS_WAITS) && sonde_span_due(state->slot, SONDE_SPAN_LOCK_WAIT, waited, result < 0))
		locks_send_span(state->slot, kind, now - waited, now, result);
	if (flags & LOCKS_NAMES)
		locks_count_name(ctx, (uint64_t)lock, state->slot, kind, waited);
	if (flags & LOCKS_INVERSIONS)
		bpf_map_delete_elem(&locks_waiting, &self);
	if ((flags & LOCKS_HOLDS) && !result && (kind == LOCKS_MUTEX || kind == LOCKS_RWSEM))
		locks_hold(self, (uint64_t)lock, now);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(locks_switch, bool preempt, struct task_struct *previous, struct task_struct *next, unsigned int previous_state)
{
	if (!preempt)
		locks_futex_sleep(previous, previous_state);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(locks_wakeup, struct task_struct *task)
{
	locks_futex_wake(task);
	return 0;
}

/* Released: only a lock that had been waited for has an entry. */
sonde_inline int locks_release(uint64_t lock, bool is_rwsem)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct locks_hold_key key = {.task = bpf_get_current_task(), .lock = lock};
	struct sonde_task *state = bpf_task_storage_get(&sonde_tasks, task, 0, 0);
	uint64_t *start, held;

	if (!state || !(state->flags[SONDE_MODULE_ID] & LOCKS_HOLDS))
		return 0;
	start = bpf_map_lookup_elem(&locks_held, &key);
	if (!start)
		return 0;
	held = bpf_ktime_get_ns() - *start;
	bpf_map_delete_elem(&locks_held, &key);
	state = sonde_task_of(task);
	if (!state)
		return 0;
	if (is_rwsem)
		sonde_observe(&locks_histograms, state->slot, LOCKS_HOLD_RWSEM, held);
	else
		sonde_observe(&locks_histograms, state->slot, LOCKS_HOLD_MUTEX, held);
	return 0;
}

SEC("fentry/mutex_unlock")
int BPF_PROG(locks_mutex_unlock, struct mutex *lock)
{
	return locks_release((uint64_t)lock, false);
}

SEC("fentry/up_read")
int BPF_PROG(locks_up_read, struct rw_semaphore *lock)
{
	return locks_release((uint64_t)lock, true);
}

SEC("fentry/up_write")
int BPF_PROG(locks_up_write, struct rw_semaphore *lock)
{
	return locks_release((uint64_t)lock, true);
}

/* A new directory has its slot from the core's program on this hook, which is attached first and so runs first; its rows
 * for spinning waits it gets here, where there is no lock to wait for and before any process can be in it. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(locks_mkdir, struct cgroup *cgroup)
{
	uint32_t slot, *rows;
	uint8_t flags;

	if (cgroup->root->hierarchy_id != 0) /* 0: the v2 tree */
		return 0;
	slot = sonde_slot_of_cgroup(cgroup->kn->id, &flags);
	if (!(flags & LOCKS_WAITS))
		return 0;
	rows = bpf_map_lookup_elem(&locks_histograms, &slot);
	if (!rows)
		return 0;
	if (rows[LOCKS_SPINLOCK] == SONDE_NO_ROW)
		sonde_take_row(&rows[LOCKS_SPINLOCK]);
	if (rows[LOCKS_RWLOCK] == SONDE_NO_ROW)
		sonde_take_row(&rows[LOCKS_RWLOCK]);
	return 0;
}
