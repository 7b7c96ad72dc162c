/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers that both sides of the locks probe share. */
#ifndef SONDE_LOCKS_H
#define SONDE_LOCKS_H

#include <sonde/abi.h>

enum locks_kind {
	LOCKS_MUTEX = 0,
	LOCKS_SPINLOCK,
	LOCKS_RWLOCK,
	LOCKS_RWSEM,
	LOCKS_RTMUTEX,
	LOCKS_PERCPU_RWSEM,
	LOCKS_SEMAPHORE,
	LOCKS_FUTEX,
	LOCKS_KINDS,
};

/* Histograms: waits by kind, then holds of mutexes and rwsems. */
enum locks_histogram { LOCKS_HOLD_MUTEX = LOCKS_KINDS, LOCKS_HOLD_RWSEM, LOCKS_HISTOGRAMS };

/* Counters: inversions by kind, then those that are no kind's. */
enum locks_counter { LOCKS_INVERSION = 0, LOCKS_STALL = LOCKS_KINDS, LOCKS_COUNTERS };

/* Bits of the flags byte. */
#define LOCKS_WAITS 0x01      /* locks of the kernel */
#define LOCKS_FUTEXES 0x02
#define LOCKS_NAMES 0x04
#define LOCKS_HOLDS 0x08
#define LOCKS_INVERSIONS 0x10
#define LOCKS_STALLS 0x20     /* of RCU; of the node */
#define LOCKS_OF_KERNEL (LOCKS_WAITS | LOCKS_NAMES | LOCKS_HOLDS | LOCKS_INVERSIONS)

/* Keys of cells: which name, of which kind. */
#define LOCKS_CELL(kind, place) ((uint32_t)(place) << 3 | (kind))
#define LOCKS_PLACE_BITS 28

#define LOCKS_WAITING 4096  /* tasks that wait, of those whose inversions are looked for */
#define LOCKS_HELD 4096     /* locks held that had been waited for */
#define LOCKS_PLACES 1024   /* names */
#define LOCKS_CYCLE 8       /* waiters in the longest cycle that is found */

/* Where names come from: a lock of the kernel's own data, or else the function that waits for it. */
struct locks_place {
	uint64_t address;
};

/* Bounds of parts of the kernel, from /proc/kallsyms; 0: not known. */
#define LOCKS_CODES 6
struct locks_bounds {
	uint64_t data_begin, data_end;
	uint64_t code[LOCKS_CODES][2]; /* of locks themselves: sections, and slow paths that stand elsewhere */
};

SONDE_ASSERT(sizeof(struct locks_bounds) == 112, "locks_limits in names.bpf.h");

#endif
