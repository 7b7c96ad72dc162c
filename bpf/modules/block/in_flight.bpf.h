/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What must be noted of a request between its begin and its end, because the kernel does not: nothing at all as long as
 * its bio says whose it is, the kernel keeps its start time (queue/iostats is on) and phases are not requested. */
#ifndef SONDE_BLOCK_IN_FLIGHT_H
#define SONDE_BLOCK_IN_FLIGHT_H

#include "request.bpf.h"

struct block_note {
	uint64_t made;   /* CLOCK_MONOTONIC ns; when the request began, or at last was issued */
	uint64_t issued; /* likewise; 0: not yet */
	uint64_t cgroup; /* whose it is; 0: as the bio says */
};

/* The kernel allocates its requests once and uses them again: a note that nobody took away is overwritten, at last. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BLOCK_IN_FLIGHT);
	__type(key, uint64_t); /* address of the request */
	__type(value, struct block_note);
} block_in_flight SEC(".maps");

uint64_t block_full_ns = 0;     /* when a note last found no place */
uint32_t block_unstamped = 0;   /* there are requests whose start time the kernel does not keep */

/* Newer kernels take the time right after block_io_start. */
#define BLOCK_STAMP_DELAY_NS 100000000ULL

/* The note of this request, not of one that lived at its address before. */
sonde_inline struct block_note *note_of(struct request *rq)
{
	uint64_t key = (uint64_t)rq;
	struct block_note *note = bpf_map_lookup_elem(&block_in_flight, &key);

	return note && note->made + BLOCK_STAMP_DELAY_NS >= rq->start_time_ns ? note : 0;
}

sonde_inline void add_note(struct request *rq, bool issued, uint64_t cgroup)
{
	uint64_t key = (uint64_t)rq, now = bpf_ktime_get_ns();
	struct block_note note = {.made = now, .issued = issued ? now : 0, .cgroup = cgroup};

	if (bpf_map_update_elem(&block_in_flight, &key, &note, BPF_ANY)) {
		block_full_ns = now;
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	}
}

sonde_inline void drop_note(struct request *rq)
{
	uint64_t key = (uint64_t)rq;

	bpf_map_delete_elem(&block_in_flight, &key);
}

sonde_inline bool needs_note(struct request *rq, struct block_owner owner)
{
	return !owner.exact || (block_unstamped && !rq->start_time_ns);
}

/* Whoever runs now has made the request, unless it is a thread of the kernel's. */
sonde_inline void note_begin(struct request *rq, struct block_owner owner)
{
	struct task_struct *task = bpf_get_current_task_btf();
	uint64_t cgroup = 0;

	if (!owner.exact && !(task->flags & BLOCK_KTHREAD))
		cgroup = sonde_cgroup_of(task);
	if (cgroup || block_unstamped)
		add_note(rq, false, cgroup);
}

#endif
