/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the sched probe keeps of each task: how far the task's own kernel counters are accounted for. Written on the CPU that
 * the task runs on only, except `since` (thread_time.bpf.h). Counters of 32 bits are the low bits of the kernel's. */
#ifndef SONDE_SCHED_TASK_BPF_H
#define SONDE_SCHED_TASK_BPF_H

struct sched_task {
	uint64_t exec_runtime; /* se.sum_exec_runtime */
	uint64_t run_delay;    /* sched_info.run_delay */
	uint32_t arrivals;     /* sched_info.pcount */
	uint32_t migrations;   /* se.nr_migrations */
	uint32_t voluntary;    /* nvcsw */
	uint32_t involuntary;  /* nivcsw */
	uint32_t unmeasured;   /* runs so far whose wait the kernel did not measure */
	uint32_t epoch;        /* which attachment of the programs wrote this; 0: none. All above is cleared at first sight */
	uint8_t runnable;      /* it left the CPU able to run on: its next wait is a preemption; 2: its quota held it up */
	uint8_t busy;          /* being accounted for on this CPU, do not interfere */
	uint8_t thread_state;  /* what it waits for since it left the CPU; running: accounted for in this run */
	uint8_t in_lock;       /* which lock of the kernel it announced that it has to wait for; 0: none */
	uint32_t thread_slot;  /* whose thread time it is since `since` */
	uint32_t swap_in;      /* in which of its page faults it requested a page of swap, swap_mark(); 0: in none */
	uint64_t throttled;    /* how long the CPU quota had held up its run queue then */
	uint64_t throttled_on; /* which run queue (struct cfs_rq) that was */
	uint64_t since;        /* up to when its thread time is charged, CLOCK_MONOTONIC; 0: its thread time is not measured */
};

#endif
