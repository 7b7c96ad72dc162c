/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The interrupts probe: numbers that interrupts.bpf.c and interrupts.cpp share. */
#ifndef SONDE_INTERRUPTS_H
#define SONDE_INTERRUPTS_H

#include <sonde/abi.h>

/* Soft interrupts have fixed numbers (include/linux/interrupt.h): hi, timer, net_tx, net_rx, block, irq_poll, tasklet, sched,
 * hrtimer, rcu. */
#define INTERRUPTS_SOFT 10

/* Hard ones are cells of the node: number of the interrupt << 1, and 1 for ns instead of how many. */
#define INTERRUPTS_OTHER 0x3fffffff /* number under which those beyond the first names are */

enum interrupts_counter {
	INTERRUPTS_SOFT_COUNT = 0,
	INTERRUPTS_SOFT_TIME = INTERRUPTS_SOFT_COUNT + INTERRUPTS_SOFT, /* ns */
	INTERRUPTS_COUNTERS = INTERRUPTS_SOFT_TIME + INTERRUPTS_SOFT,
};

#define INTERRUPTS_FLAG 1

#endif
