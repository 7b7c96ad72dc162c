/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Waits-for cycles: a task waits for a lock whose owner waits for another, and so on back to the first. Nobody will ever get
 * his lock, unless somebody gives up. Looked for when a task begins to wait; the last to come closes the cycle, so each is
 * found once. Owners are read anew at every step: an owner of some time ago proves nothing.
 *
 * Who waits is a number: the address of the task for locks of the kernel; for futexes the process and the thread as the
 * process itself knows it, because that is what glibc writes beside the futex of a mutex (its __owner, 8 bytes behind). Other
 * users of futexes have anything there, which leads to no thread that waits, and so to no cycle. */
#ifndef SONDE_LOCKS_CYCLES_H
#define SONDE_LOCKS_CYCLES_H

#include "waits.h"

struct locks_waiter {
	uint64_t lock; /* address, in the kernel or in the process */
	uint64_t kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LOCKS_WAITING);
	__type(key, uint64_t);
	__type(value, struct locks_waiter);
} locks_waiting SEC(".maps");

#define LOCKS_OWNER_FLAGS 7ULL
#define LOCKS_READERS 1ULL /* of a rwsem: its owners are readers, of whom only one is known */

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

/* True if `self`, which begins to wait for `lock`, closes a cycle. */
sonde_slow bool locks_closes_cycle(uint64_t self, uint64_t lock, uint32_t kind)
{
	struct locks_waiter mine = {.lock = lock, .kind = kind}, *next;
	uint64_t process = self & ~0xffffffffULL, at;
	int i;

	if (bpf_map_update_elem(&locks_waiting, &self, &mine, BPF_ANY)) {
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
		return false;
	}
	for (i = 0; i < LOCKS_CYCLE; i++) {
		at = locks_owner(mine.lock, mine.kind, process);
		if (!at)
			return false;
		if (at == self)
			return i > 0; /* it waits for itself: a semaphore used as a mutex, or a stale owner */
		next = bpf_map_lookup_elem(&locks_waiting, &at);
		if (!next)
			return false;
		mine = *next;
	}
	return false;
}

#endif
