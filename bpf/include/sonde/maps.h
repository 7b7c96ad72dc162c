/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the core object. Every module's object declares them by including this file; at load the agent replaces
 * each map whose name begins with sonde_ by the core's own, so there is one of each. Sizes of 1 are set at load. */
#ifndef SONDE_MAPS_H
#define SONDE_MAPS_H

#include <sonde/bpf.h>
#include <sonde/spans.h>
#include <sonde/task.h>

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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_span_config);
} sonde_span_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_span_budget);
} sonde_span_budgets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} sonde_spans SEC(".maps");

/* Per CPU: who is running, for hooks that fire too often to ask the task's storage. */
struct sonde_context {
	uint64_t regs;  /* address of the user registers of the task this speaks of; 0: nobody */
	uint64_t task;  /* its task_struct */
	uint64_t start; /* of the system call it is in, CLOCK_MONOTONIC ns; 1: in one, clock not taken; 0: in none */
	uint64_t operation; /* the module's own note about that call */
	uint32_t generation;
	uint32_t slot;
	uint8_t flags[SONDE_MAX_MODULES];
	uint32_t calls_seen; /* as in its storage */
	uint32_t reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sonde_context);
} sonde_contexts SEC(".maps");

/* Per task: struct sonde_task. The only task storage map of the agent: the kernel's cache holds 16 of a kind for all agents
 * of a node. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sonde_task);
} sonde_tasks SEC(".maps");

#endif
