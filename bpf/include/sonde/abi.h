/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel side and user space share: sizes, names of slots and the layout of the shared maps.
 * Plain data only, no pointers; every size is asserted below because both compilers must agree. */
#ifndef SONDE_ABI_H
#define SONDE_ABI_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <stdint.h>
#endif

#ifdef __cplusplus
#define SONDE_ASSERT static_assert
#else
#define SONDE_ASSERT _Static_assert
#endif

/* A module owns one byte of flags per subject: what of it that subject is measured for. */
#define SONDE_MAX_MODULES 16

/* Slots are small integers that stand for subjects. Three are fixed: */
#define SONDE_SLOT_UNATTRIBUTED 0 /* whose cgroup has no entry: counted, so that sum in = sum out */
#define SONDE_SLOT_IGNORED 1      /* known and not selected: its flags are always zero */
#define SONDE_SLOT_NODE 2         /* the machine: metrics with MetricSpec::node, and only they, are counted here */
#define SONDE_FIRST_FREE_SLOT 3

/* Row 0 of the histogram pool is never handed out: index 0 means "no row yet". */
#define SONDE_NO_ROW 0

#define SONDE_NAME_SIZE 256 /* of a cgroup directory: 255 bytes (NAME_MAX) and a zero; a power of two */

/* Thread ids that one run over threads takes, see threads.h. */
#define SONDE_TIDS 4096

/* A gauge that nobody could read: it has no value, which is not 0. */
#define SONDE_NO_GAUGE INT64_MIN

/* Kinds of cgroup, as far as the kernel side must know them. */
enum sonde_kind {
	SONDE_KIND_TREE = 0,      /* a child directory is a subject of its own */
	SONDE_KIND_CONTAINER = 1, /* children are inside this container and share its slot, pods excepted */
	SONDE_KIND_INSIDE = 2,    /* below a container, and not below a pod that this container holds */
};

/* Reasons for which an event that belonged into a row did not get there. One counter per module and reason. These are for
 * all modules; a module numbers its own from SONDE_LOSS_OWN, in its <name>.h, and names them in ModuleInfo::losses. */
enum sonde_loss {
	SONDE_LOSS_TASK_STORAGE = 0, /* no task storage (busy or out of memory): event of unknown task */
	SONDE_LOSS_NO_ROW,           /* histogram pool is empty: sample not in the histogram */
	SONDE_LOSS_UNSEEN_ENTRY,     /* operation began before it was watched: not counted */
	SONDE_LOSS_IN_FLIGHT,        /* table of operations in flight is full: duration not known */
	SONDE_LOSS_NO_SLOT,          /* no free slot: subject counts as unattributed */
	SONDE_LOSS_PROCESSES,        /* no slot or table entry for a process: counted on its container instead */
	SONDE_LOSS_BAD_VALUE,        /* a kernel value that cannot be (a clock that went back): not counted */
	SONDE_LOSS_UNMEASURED,       /* the kernel itself took no time of it: not counted */
	SONDE_LOSS_MOVED,            /* its task changed subject meanwhile: whose it is cannot be said, not counted */
	SONDE_LOSS_SPAN,             /* ring of spans is full: the span is lost, what it tells of is counted */
	SONDE_LOSS_OWN,
	SONDE_LOSSES = 16,
};

/* sonde_globals, one element, mapped by user space. */
struct sonde_globals {
	uint32_t generation; /* raised by whatever changes the answer to "which slot, which flags is this task?" */
	int32_t process_slots; /* slots that processes may still take: half of all at first, the rest is for cgroups */
	uint64_t lifecycle; /* raised at every change of sonde_slot_info: cheap to poll */
	uint8_t provisional[SONDE_MAX_MODULES]; /* flags of a subject that user space has not yet seen */
};

/* sonde_subjects, key: cgroup id (u64, cgroup v2 only). */
struct sonde_subject {
	uint32_t slot;
	uint32_t kind; /* enum sonde_kind */
};

/* sonde_slot_config, key: slot. Read on the hot path after a context switch. */
struct sonde_slot_config {
	uint8_t flags[SONDE_MAX_MODULES];
	uint16_t sample[SONDE_MAX_MODULES]; /* take the clock of one operation in so many; 0 and 1: of each */
	uint32_t per_process;               /* not 0: processes of this subject get slots of their own */
	uint32_t since;                     /* when user space last gave it flags, sonde_coarse_time(); 0: never */
};

/* CLOCK_MONOTONIC in units of 17 ms, rounded up: 32 bits are two years. */
#define SONDE_COARSE_SHIFT 24
#define sonde_coarse_time(ns) ((uint32_t)(((ns) >> SONDE_COARSE_SHIFT) + 1))

/* sonde_slot_info, key: slot. Who has the slot; written by the kernel side at mkdir, rmdir and by user space. */
struct sonde_slot_info {
	uint64_t cgroup_id;   /* 0: the slot is free */
	uint64_t parent_id;   /* cgroup id of the parent directory */
	uint64_t created_ns;  /* CLOCK_BOOTTIME */
	uint64_t removed_ns;  /* CLOCK_BOOTTIME of rmdir or process exit, 0 while it lives */
	uint32_t kind;        /* enum sonde_kind */
	uint32_t tgid;        /* not 0: the slot of one process (init namespace) */
	char comm[16];        /* of that process */
	char name[SONDE_NAME_SIZE]; /* of the cgroup's directory; user space joins it to its parents' names */
};

/* sonde_processes: slots of processes, where a policy asks for them. */
struct sonde_process_key {
	uint32_t tgid;
	uint32_t slot; /* of the container */
};

/* Latency histogram: OTLP exponential, scale 2, on second boundaries. See histogram.h. */
#define SONDE_HIST_BUCKETS 146 /* bucket i holds (2^((i-1)/4), 2^(i/4)] units of 2^-30 s; bucket 0 all up to one unit */
struct sonde_histogram {
	uint64_t sum;       /* ns (or the metric's own unit); exact */
	uint32_t overflow;  /* longer than the last bucket's end, 2^36.25 units = 76 s */
	uint32_t reserved;
	uint32_t bucket[SONDE_HIST_BUCKETS];
};

/* Counters whose key is not known beforehand (an errno, an opcode): a few cells per slot, claimed by the first
 * event with that key. Events that find no cell go to `other`, which is exported as such: nothing is lost. */
#define SONDE_CELLS 24
struct sonde_cells {
	uint32_t key[SONDE_CELLS]; /* 0: free; module's key + 1 otherwise */
	uint64_t count[SONDE_CELLS];
	uint64_t other;
};

/* The same for histograms (a device, an interrupt, a lock): each key has a row of the pool, taken at its first sample. */
struct sonde_keyed {
	uint32_t key[SONDE_CELLS]; /* 0: free; module's key + 1 otherwise */
	uint32_t row[SONDE_CELLS]; /* of sonde_histograms */
	uint32_t other_row;
	uint32_t reserved;
};

/* sonde_doorbell: rung (8 bytes of no meaning) when sonde_slot_info changed. A lost ring loses nothing. */

SONDE_ASSERT(sizeof(struct sonde_globals) == 32, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_subject) == 8, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_slot_config) == 56, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_slot_info) == 312, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_histogram) == 600, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_cells) == 296, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_keyed) == 200, "shared layout");

#endif
