/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the core object. Every module's object declares them by including this file; at load the agent replaces
 * each map whose name begins with sonde_ by the core's own, so there is one of each. Sizes of 1 are set at load. */
#ifndef SONDE_MAPS_H
#define SONDE_MAPS_H

#include <sonde/bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_globals);
} sonde_globals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, uint64_t);
	__type(value, struct sonde_subject);
} sonde_subjects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_slot_config);
} sonde_slot_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_slot_info);
} sonde_slot_info SEC(".maps");

/* Free slots and free histogram rows: both sides take from the front, user space gives back at the end. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__uint(value_size, sizeof(uint32_t));
} sonde_free_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__uint(value_size, sizeof(uint32_t));
} sonde_free_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_histogram);
} sonde_histograms SEC(".maps");

struct sonde_loss_row {
	uint64_t count[SONDE_LOSSES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SONDE_MAX_MODULES);
	__type(key, uint32_t);
	__type(value, struct sonde_loss_row);
} sonde_losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sonde_process_key);
	__type(value, uint32_t); /* slot */
} sonde_processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} sonde_doorbell SEC(".maps");

/* Per CPU: who is running, for hooks that fire too often to ask the task's storage. */
struct sonde_context {
	uint64_t regs;  /* address of the user registers of the task this speaks of; 0: nobody */
	uint64_t task;  /* its task_struct */
	uint64_t start; /* of the system call it is in, CLOCK_MONOTONIC ns; 1: in one, clock not taken; 0: in none */
	uint64_t operation; /* the module's own note about that call */
	uint32_t generation;
	uint32_t slot;
	uint8_t flags[SONDE_MAX_MODULES];
	uint32_t io_seen; /* as in its storage */
	uint32_t reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_context);
} sonde_contexts SEC(".maps");

/* Per task. The only task storage map of the agent: the kernel's cache holds 16 of a kind for all agents of a node. */
struct sonde_task {
	uint32_t generation; /* of slot and flags below; 0: never resolved */
	uint32_t slot;
	uint8_t flags[SONDE_MAX_MODULES];
	uint64_t start;     /* saved sonde_context.start, .operation while the task is off the CPU */
	uint64_t operation;
	/* sched: how far the task's own kernel counters are accounted for; written on the CPU it runs on only */
	uint64_t exec_runtime; /* se.sum_exec_runtime */
	uint64_t run_delay;    /* sched_info.run_delay */
	uint32_t arrivals;     /* sched_info.pcount, low bits as of all below */
	uint32_t migrations;   /* se.nr_migrations */
	uint32_t voluntary;    /* nvcsw */
	uint32_t involuntary;  /* nivcsw */
	uint32_t unmeasured;   /* runs so far whose wait the kernel did not measure */
	uint32_t sched_epoch;  /* sched's programs were attached that often when this was written; 0: never written */
	uint8_t sched_runnable; /* it left the CPU able to run on: its next wait is a preemption; 2: its quota held it up */
	uint8_t sched_busy;     /* being accounted for on this CPU, do not interfere */
	uint8_t thread_state;   /* sched: what it waits for since it left the CPU; running: accounted for in this run */
	uint8_t in_lock;        /* which lock of the kernel it announced that it has to wait for; 0: none */
	uint32_t thread_slot;   /* whose thread time it is since pending[] */
	uint32_t swap_in;       /* sched: in which of its page faults it asked for a page of swap, swap_mark(); 0: in none */
	uint32_t faults_owner;  /* memory: whose page faults it has since `faults`: slot, and which of the two in the upper 8 bits */
	uint64_t faults;        /* memory: how many of its page faults are accounted for: major (32 bits), minor */
	uint32_t faults_epoch;  /* memory: as sched_epoch; 0: never seen */
	uint32_t io_seen;       /* io: since when (low bits of its begin time) the ends of this task's calls are seen; 0: not yet */
	uint64_t throttled;     /* how long the CPU quota had held up its run queue then */
	uint64_t throttled_on;  /* which run queue (struct cfs_rq) that was */
	uint64_t cache_files;   /* cache: of which files it has ever brought pages in, by hash; 0: of none */
	uint64_t pending[SONDE_MAX_MODULES]; /* task-local scratch, one per module; 0: nothing */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sonde_task);
} sonde_tasks SEC(".maps");

#endif
