/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The cache probe: numbers that its programs and cache.cpp share. */
#ifndef SONDE_CACHE_H
#define SONDE_CACHE_H

#include <sonde/abi.h>
#include <sonde/syscalls.h>

/* The system call behind posix_fadvise. */
#if SONDE_ON_X86
#define CACHE_FADVISE "fadvise64"
#else
#define CACHE_FADVISE "fadvise64_64"
#endif

/* POSIX_FADV_* of x86 and arm64, include/uapi/linux/fadvise.h. */
enum cache_advice {
	CACHE_NORMAL = 0,
	CACHE_RANDOM,
	CACHE_SEQUENTIAL,
	CACHE_WILLNEED,
	CACHE_DONTNEED,
	CACHE_NOREUSE,
	CACHE_ADVICES,
};

enum cache_counter {
	CACHE_HIT = 0, /* bytes, as all up to CACHE_DIRTIED */
	CACHE_MISS,
	CACHE_ADDED,
	CACHE_EVICTED,
	CACHE_DIRTIED,
	CACHE_CALLS,                                  /* + advice: calls that succeeded */
	CACHE_REQUESTED = CACHE_CALLS + CACHE_ADVICES, /* + advice: bytes that they named */
	CACHE_COUNTERS = CACHE_REQUESTED + CACHE_ADVICES,
};

/* Key of a failed call's cell; CACHE_ADVICES: no advice that there is. */
#define CACHE_FAILURE(advice, error) ((advice) << 16 | (error))
#define CACHE_FAILURE_ADVICE(key) ((key) >> 16)
#define CACHE_FAILURE_ERROR(key) ((key) & 0xffff)

/* Bits of a subject's flags byte. */
enum cache_flag {
	CACHE_FLAG_READ = 1,
	CACHE_FLAG_ADDED = 2,
	CACHE_FLAG_EVICTED = 4,
	CACHE_FLAG_DIRTIED = 8,
	CACHE_FLAG_ADVICE = 16,
	CACHE_FLAG_REQUESTED = 32,
};

/* Streams of reads that are being followed: one per file and thread that brings pages in. */
#define CACHE_STREAMS 4096

#endif
