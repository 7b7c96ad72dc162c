/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Begin and end of a wait. A task waits for one sleeping lock at a time: its begin stands in the task's own scratch. What
 * spins is kept per CPU, because a wait in an interrupt may come on top.
 *
 * Programs here run while somebody waits for any lock of the kernel, or has just got it: of the kernel's own maps as well.
 * So where a spinning lock is waited for nothing is done that takes a lock itself: no task storage is made, no histogram
 * row taken (the agent does that before it selects a subject, locks_mkdir for a new directory), and only array elements are
 * counted up. */
#ifndef SONDE_LOCKS_WAITS_H
#define SONDE_LOCKS_WAITS_H

#include "locks.h"
#include <sonde/who.h>

SONDE_ROWS(locks, LOCKS_COUNTERS, LOCKS_HISTOGRAMS);
SONDE_CELL_ROWS(locks);

/* include/trace/events/lock.h */
#define LCB_F_SPIN 1
#define LCB_F_READ 2
#define LCB_F_WRITE 4
#define LCB_F_RT 8
#define LCB_F_PERCPU 16
#define LCB_F_MUTEX 32

/* Scratch of a task: 17 bits of the lock, 3 of its kind, 44 of the start (ns; wraps after 4.8 hours, as the difference does). */
#define LOCKS_START_MASK ((1ULL << 44) - 1)
#define LOCKS_KIND_SHIFT 44
#define LOCKS_HASH_SHIFT 47

#define LOCKS_SPINS 4 /* nested spinning waits on a CPU: task, soft and hard interrupt, NMI */

struct locks_spin {
	uint64_t lock;
	uint64_t start;
	uint32_t slot;
	uint32_t kind;
};

struct locks_spins {
	struct locks_spin wait[LOCKS_SPINS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct locks_spins);
} locks_spinning SEC(".maps");

sonde_inline uint32_t locks_kind_of(uint32_t flags)
{
	if (flags & LCB_F_MUTEX)
		return LOCKS_MUTEX;
	if (flags & LCB_F_PERCPU)
		return LOCKS_PERCPU_RWSEM;
	if (flags & LCB_F_RT)
		return LOCKS_RTMUTEX;
	if (flags & LCB_F_SPIN)
		return flags & (LCB_F_READ | LCB_F_WRITE) ? LOCKS_RWLOCK : LOCKS_SPINLOCK;
	return flags & (LCB_F_READ | LCB_F_WRITE) ? LOCKS_RWSEM : LOCKS_SEMAPHORE;
}

sonde_inline uint64_t locks_hash(uint64_t lock)
{
	return (lock * 0x9e3779b97f4a7c15ULL >> LOCKS_HASH_SHIFT) | 1; /* never 0: a scratch of 0 means that it does not wait */
}

sonde_inline uint64_t locks_pack(uint64_t lock, uint32_t kind, uint64_t now)
{
	return locks_hash(lock) << LOCKS_HASH_SHIFT | (uint64_t)kind << LOCKS_KIND_SHIFT | (now & LOCKS_START_MASK);
}

sonde_inline void locks_spin_begin(uint64_t lock, uint32_t kind)
{
	uint32_t zero = 0, i, slot;
	struct locks_spins *spins;
	uint8_t flags;

	slot = sonde_slot_of_cgroup(sonde_cgroup_of(bpf_get_current_task_btf()), &flags);
	if (!(flags & (LOCKS_WAITS | LOCKS_NAMES)))
		return;
	spins = bpf_map_lookup_elem(&locks_spinning, &zero);
	if (!spins)
		return;
	for (i = 0; i < LOCKS_SPINS; i++) {
		if (spins->wait[i].lock && spins->wait[i].lock != lock) /* the same: the end of that wait was not seen */
			continue;
		spins->wait[i].lock = lock;
		spins->wait[i].kind = kind;
		spins->wait[i].slot = slot;
		spins->wait[i].start = bpf_ktime_get_ns();
		return;
	}
	sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
}

/* Into a row that is there already. */
sonde_inline void locks_observe_spin(uint32_t slot, uint32_t kind, uint64_t ns)
{
	uint32_t *rows = bpf_map_lookup_elem(&locks_histograms, &slot);

	if (!rows)
		return;
	rows += kind == LOCKS_RWLOCK ? LOCKS_RWLOCK : LOCKS_SPINLOCK;
	if (*(volatile uint32_t *)rows == SONDE_NO_ROW)
		sonde_lose(SONDE_LOSS_NO_ROW, 1);
	else
		sonde_observe_at(rows, ns);
}

#endif
