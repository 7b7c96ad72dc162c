/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sched probe: numbers that sched.bpf.c and sched.cpp share. */
#ifndef SONDE_SCHED_H
#define SONDE_SCHED_H

#include <sonde/abi.h>

/* What a thread does with its time. A thread is in exactly one of these at any moment. */
enum sched_thread_state {
	SCHED_THREAD_RUNNING = 0,
	SCHED_THREAD_RUNNABLE, /* waits for a CPU */
	SCHED_THREAD_DISK,
	SCHED_THREAD_NETWORK,
	SCHED_THREAD_LOCK,
	SCHED_THREAD_MEMORY,
	SCHED_THREAD_SLEEP,
	SCHED_THREAD_STOPPED,
	SCHED_THREAD_OTHER,
	SCHED_THREAD_STATES,
};

enum sched_counter {
	SCHED_VOLUNTARY = 0, /* switches */
	SCHED_INVOLUNTARY,   /* switches */
	SCHED_MIGRATIONS,
	SCHED_WAKEUPS,
	SCHED_ONCPU, /* ns */
	SCHED_THREAD, /* ns, one for each enum sched_thread_state */
	SCHED_COUNTERS = SCHED_THREAD + 16, /* room for every masked state: thread_time.bpf.h */
};

/* Waiting times on the run queue, ns. A subject feeds either the first or the other two. */
enum sched_histogram {
	SCHED_WAIT = 0,
	SCHED_WAIT_WAKEUP,     /* it had slept, or is new */
	SCHED_WAIT_PREEMPTION, /* it would have run on */
	SCHED_HISTOGRAMS,
};

/* Bits of a subject's flags byte. */
enum sched_flag {
	SCHED_FLAG_WAIT = 1,
	SCHED_FLAG_CAUSE = 2, /* waiting times by cause; wins over SCHED_FLAG_WAIT */
	SCHED_FLAG_SWITCHES = 4,
	SCHED_FLAG_MIGRATIONS = SCHED_FLAG_SWITCHES, /* read at the same place, at next to no cost */
	SCHED_FLAG_ONCPU = 8,
	SCHED_FLAG_WAKEUPS = 16,
	SCHED_FLAG_THREAD = 32, /* thread time by state */
};

/* The probe's own reasons for losses. */
enum sched_loss {
	SCHED_LOSS_MERGED = SONDE_LOSS_OWN, /* waits known only by their sum: counted, each at the mean */
};

#endif
