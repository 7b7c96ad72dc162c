/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process probe: numbers that process.bpf.c and process.cpp share. */
#ifndef SONDE_PROCESS_H
#define SONDE_PROCESS_H

#include <sonde/abi.h>

enum process_counter {
	PROCESS_FORKS = 0,
	PROCESS_EXECS,
	PROCESS_EXIT_SUCCESS, /* ended with status 0 */
	PROCESS_EXIT_ERROR,   /* with another one */
	PROCESS_COUNTERS,
};

/* Ends by a signal are cells, the key is the signal's number. */

enum process_histogram {
	PROCESS_LIFETIME = 0, /* ns, CLOCK_BOOTTIME */
	PROCESS_HISTOGRAMS,
};

/* Bits of a subject's flags byte. */
enum process_flag {
	PROCESS_FLAG_FORKS = 1,
	PROCESS_FLAG_EXECS = 2,
	PROCESS_FLAG_EXITS = 4,
	PROCESS_FLAG_LIFETIME = 8,
};

#endif
