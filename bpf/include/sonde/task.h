/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is kept per task: by the core, and by each module that has a bpf/modules/<name>/task.bpf.h, in which it declares its
 * struct <name>_task. The build joins them to SONDE_TASK_PARTS, in <sonde/task_parts.h>.
 *
 *   state->locks.wait                  a module's own part has its name
 *   #define SONDE_READS_sched          before any include: this module reads sched's part, as state->sched, and cannot write it
 *
 * All other parts are bytes without a name here. Storage is zero at first, and what is in it lives as long as the task: a
 * module that is detached and attached again finds what it has written before. */
#ifndef SONDE_TASK_H
#define SONDE_TASK_H

#include <sonde/bpf.h>

/* A part that this object may not look at. */
#define SONDE_TASK_CLOSED(name) _Alignas(struct name##_task) uint8_t of_##name[sizeof(struct name##_task)];

#include <sonde/task_parts.h>

struct sonde_task {
	uint32_t generation; /* of slot and flags below; 0: never resolved */
	uint32_t slot;
	uint8_t flags[SONDE_MAX_MODULES];
	uint64_t start; /* saved sonde_context.start, .operation while the task is off the CPU */
	uint64_t operation;
	uint32_t calls_seen; /* since when (low bits of a start time) the ends of its system calls are seen; 0: not yet */
	SONDE_TASK_PARTS
};

#endif
