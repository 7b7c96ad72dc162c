/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The memory probe: numbers that its programs and memory.cpp share. */
#ifndef SONDE_MEMORY_H
#define SONDE_MEMORY_H

#include <sonde/abi.h>

enum memory_reclaimer {
	MEMORY_DIRECT = 0,
	MEMORY_KSWAPD,
	MEMORY_MEMCG,
	MEMORY_RECLAIMERS,
};

enum memory_allocator {
	MEMORY_KMALLOC = 0,
	MEMORY_KMEM_CACHE,
	MEMORY_PAGE,
	MEMORY_ALLOCATORS,
};

enum memory_counter {
	MEMORY_MAJOR = 0,
	MEMORY_MINOR,
	MEMORY_OOM_MEMCG,
	MEMORY_OOM_GLOBAL,
	MEMORY_SWAP_IN, /* bytes, as all that follow but MEMORY_ALLOCATIONS */
	MEMORY_SWAP_OUT,
	MEMORY_SCANNED,                                           /* + reclaimer */
	MEMORY_RECLAIMED = MEMORY_SCANNED + MEMORY_RECLAIMERS,    /* + reclaimer */
	MEMORY_ALLOCATED = MEMORY_RECLAIMED + MEMORY_RECLAIMERS,  /* + allocator */
	MEMORY_FREED = MEMORY_ALLOCATED + MEMORY_ALLOCATORS,      /* + allocator */
	MEMORY_ALLOCATIONS = MEMORY_FREED + MEMORY_ALLOCATORS,    /* + allocator */
	MEMORY_COUNTERS = MEMORY_ALLOCATIONS + MEMORY_ALLOCATORS,
};

/* Durations, ns. */
enum memory_histogram {
	MEMORY_STALL = 0,
	MEMORY_MAJOR_TIME,
	MEMORY_MINOR_TIME,
	MEMORY_HISTOGRAMS,
};

enum memory_gauge { MEMORY_RECLAIM_TASKS = 0, MEMORY_GAUGES };

/* Bits of a subject's flags byte. */
enum memory_flag {
	MEMORY_FLAG_STALL = 1, /* and the tasks that are stalled now */
	MEMORY_FLAG_OOM = 2,   /* and pressure, which user space reads */
	MEMORY_FLAG_MAJOR = 4,
	MEMORY_FLAG_MINOR = 8,
	MEMORY_FLAG_FAULT_TIME = 16,
	MEMORY_FLAG_RECLAIM = 32,
	MEMORY_FLAG_SWAP = 64,
	MEMORY_FLAG_ALLOCATIONS = 128,
};

/* A task that reclaims; key: address of its task_struct. More than these at a time are not measured, and counted. */
#define MEMORY_RECLAIMS 2048
struct memory_reclaim {
	uint64_t start; /* CLOCK_MONOTONIC, ns */
	uint32_t slot;
	uint32_t reserved;
};

#endif
