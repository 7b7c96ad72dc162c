/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Waits-for cycles: a task waits for a lock whose owner waits for another, and so on back to the first. Nobody will ever get
 * his lock, unless somebody gives up. Looked for when a task begins to wait: the last to come closes the cycle. Owners are
 * read again at every step: an old owner proves nothing. Two that arrive simultaneously both find it, and one that is
 * woken by a signal and waits again finds it again: a cycle is counted by who first marks its youngest wait, unless all its
 * other waits are marked already.
 *
 * Who waits is a number: the address of the task for locks of the kernel; for futexes the process and the thread as the
 * process itself knows it, because that is what glibc writes next to the futex of a mutex (its __owner, 8 bytes later). Other
 * users of futexes have anything there, which leads to no thread that waits, and so to no cycle. */
#ifndef SONDE_LOCKS_CYCLES_H
#define SONDE_LOCKS_CYCLES_H

#include "waits.bpf.h"

struct locks_waiter {
	uint64_t lock;  /* address, in the kernel or in the process */
	uint64_t begin; /* ns */
	uint32_t kind;
	uint32_t counted; /* 1: it is in a cycle that was counted */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LOCKS_WAITING);
	__type(key, uint64_t);
	__type(value, struct locks_waiter);
} locks_waiting SEC(".maps");

#define LOCKS_OWNER_FLAGS 7ULL
#define LOCKS_READERS 1ULL /* of a rwsem: its owners are readers, only one of which is known */

/* 0: nobody, or not known. `process` is that of the waiter, in the upper half. */
sonde_inline uint64_t locks_owner(uint64_t lock, uint64_t kind, uint64_t process)
{
	struct rw_semaphore *semaphore = (struct rw_semaphore *)lock;
	struct mutex *mutex = (struct mutex *)lock;
	uint64_t owner = 0;
	uint32_t thread = 0;

	if (kind == LOCKS_FUTEX) {
		if (bpf_probe_read_user(&thread, sizeof(thread), (void *)(lock + 8)))
			return 0;
		return thread ? process | thread : 0;
	}
	if (kind == LOCKS_MUTEX) {
		owner = BPF_CORE_READ(mutex, owner.counter);
	} else if (kind == LOCKS_RWSEM) {
		owner = BPF_CORE_READ(semaphore, owner.counter);
		if (owner & LOCKS_READERS)
			return 0;
	}
	return owner & ~LOCKS_OWNER_FLAGS;
}

struct locks_cycle {
	uint64_t member[LOCKS_CYCLE];
	uint64_t youngest; /* whose wait began last: the same for all who find the cycle */
	uint64_t begin;
	uint64_t fresh; /* other members that are in no cycle that was counted */
};

/* Marks all; true if the youngest wait was not marked before. */
sonde_slow bool locks_mark_cycle(struct locks_cycle *cycle)
{
	struct locks_waiter *member;
	uint64_t youngest, key;
	bool first;
	int i;

	if (!cycle)
		return false;
	youngest = cycle->youngest;
	member = bpf_map_lookup_elem(&locks_waiting, &youngest);
	if (!member)
		return false;
	first = !__sync_val_compare_and_swap(&member->counted, 0, 1);
	for (i = 0; i < LOCKS_CYCLE; i++) {
		key = cycle->member[i];
		member = bpf_map_lookup_elem(&locks_waiting, &key);
		if (member)
			member->counted = 1;
	}
	return first;
}

/* True if `self`, which begins to wait for `lock`, closes a cycle that nobody has counted. */
sonde_slow bool locks_closes_cycle(uint64_t self, uint64_t lock, uint32_t kind)
{
	struct locks_waiter at = {.lock = lock, .begin = bpf_ktime_get_ns(), .kind = kind}, *next;
	struct locks_cycle cycle = {.youngest = self, .begin = at.begin};
	uint64_t process = self & ~0xffffffffULL, owner = 0, order = 0;
	int i;

	if (bpf_map_update_elem(&locks_waiting, &self, &at, BPF_ANY)) {
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
		return false;
	}
	/* A full barrier: of two that come at once at least one sees the other. */
	if (__sync_fetch_and_add(&order, 1))
		return false;
	for (i = 0; i < LOCKS_CYCLE; i++) {
		owner = locks_owner(at.lock, at.kind, process);
		if (!owner || owner == self)
			break;
		next = bpf_map_lookup_elem(&locks_waiting, &owner);
		if (!next)
			return false;
		at = *next;
		cycle.member[i] = owner;
		cycle.fresh += 1 - at.counted;
		if (at.begin > cycle.begin || (at.begin == cycle.begin && owner > cycle.youngest)) {
			cycle.begin = at.begin;
			cycle.youngest = owner;
		}
	}
	/* Back at once: a semaphore used as a mutex, or a stale owner. */
	if (owner != self || i == 0)
		return false;
	if (i < LOCKS_CYCLE)
		cycle.member[i] = self;
	return locks_mark_cycle(&cycle) && cycle.fresh;
}

#endif
