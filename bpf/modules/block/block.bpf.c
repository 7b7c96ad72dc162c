/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The block probe: requests to block devices, counted when they end. Whose a request is and when it began stands in the
 * request itself, as a rule; README.md says when not, and what is noted then. */
#include "block.h"

#include <sonde/rows.h>
#include <sonde/span.h>

#include "in_flight.bpf.h"

SONDE_LICENSE;

SONDE_ROWS(block, BLOCK_COUNTERS, BLOCK_OPERATIONS);
SONDE_CELL_ROWS(block);
SONDE_KEYED_HISTOGRAM_ROWS(block);
SONDE_ANSWERS(block);

#define BLOCK_FLAG_TIMES (BLOCK_FLAG_DURATION | BLOCK_FLAG_PHASES)

sonde_inline bool is_counted(struct request *rq)
{
	struct gendisk *disk = disk_of(rq);

	return disk && operation_of(rq) >= 0 && !is_stacked(disk);
}

/* In the context of who asked. Since 6.4. */
SEC("tp_btf/block_io_start")
int BPF_PROG(block_start, struct request *rq)
{
	struct block_owner owner = owner_of(rq);

	if (needs_note(rq, owner) && is_counted(rq))
		note_begin(rq, owner);
	return 0;
}

/* Before 6.4: whichever of the two a request meets first, which is mostly in that context too. */
sonde_inline int begin_late(struct request *rq)
{
	struct block_owner owner = owner_of(rq);

	if (needs_note(rq, owner) && is_counted(rq) && !note_of(rq))
		note_begin(rq, owner);
	return 0;
}

SEC("tp_btf/block_rq_insert")
int BPF_PROG(block_insert, struct request *rq)
{
	return begin_late(rq);
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_direct, struct request *rq)
{
	return begin_late(rq);
}

/* The driver gets it, possibly again after a requeue: the time until then was waiting. */
SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_issue, struct request *rq)
{
	struct block_owner owner;
	struct block_note *note;
	uint64_t cgroup;
	uint8_t flags;

	if (!is_counted(rq))
		return 0;
	owner = owner_of(rq);
	note = note_of(rq);
	cgroup = note && note->cgroup ? note->cgroup : owner.cgroup;
	sonde_answer(&block_answers, cgroup, &flags);
	if (!(flags & BLOCK_FLAG_PHASES))
		return 0;
	if (note)
		note->issued = bpf_ktime_get_ns();
	else
		add_note(rq, true, 0);
	return 0;
}

/* This one became part of another, which goes on for both. */
SEC("tp_btf/block_rq_merge")
int BPF_PROG(block_merge, struct request *rq)
{
	drop_note(rq);
	return 0;
}

sonde_inline void count_error(uint32_t slot, int operation, int error)
{
	if (error == BLOCK_STATUS_IOERR || error == -BLOCK_EIO)
		sonde_count(&block_counters, slot, BLOCK_IO_ERRORS + (operation & (BLOCK_OPERATIONS - 1)), 1);
	else
		sonde_count_key(&block_cells, slot, BLOCK_ERROR_KEY(operation, error), 1);
}

#define BLOCK_MOST_STATUS 10

/* The errno of a blk_status_t, as blk_status_to_errno() in block/blk-core.c. */
const uint8_t block_errnos[BLOCK_MOST_STATUS + 1] = {0, 95, 110, 28, 67, 121, 52, 61, 84, 12, BLOCK_EIO};

sonde_inline uint32_t errno_of(int error)
{
	uint64_t status = error;

	if (error <= 0) /* before 5.16 */
		return -error;
	barrier_var(status);
	return status <= BLOCK_MOST_STATUS ? block_errnos[status] : BLOCK_EIO;
}

/* It ends in an interrupt, whoever is interrupted: so no thread is named. `what`: BLOCK_SPAN(). */
#define BLOCK_SPAN(operation, error, bytes) ((operation) | (uint64_t)(error) << 8 | (uint64_t)(bytes) << 32)

__noinline int block_send_span(uint32_t slot, uint64_t what, uint64_t start, uint64_t end, uint64_t device)
{
	struct sonde_span *span = sonde_span_begin(slot, SONDE_SPAN_BLOCK_IO, start, end, what >> 8 & 0xffffff);

	if (!span)
		return 0;
	span->direction = SONDE_SPAN_READS + (what & 0xff); /* in the order of enum block_operation */
	span->bytes = what >> 32;
	span->device_major = device >> 32;
	span->device_minor = device;
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* A flush has no moment at which a driver gets it: it waits for the device, for its own or one made for several. */
sonde_inline void observe_phases(struct request *rq, uint32_t slot, uint32_t operation, uint64_t start, uint64_t now,
				 struct block_note *note)
{
	struct gendisk *disk = disk_of(rq);
	uint64_t issued = note ? note->issued : 0;
	uint32_t major = disk->major, minor = disk->first_minor, key;

	if (minor >= 1U << BLOCK_MINOR_BITS)
		major = minor = 0; /* no name for it */
	key = BLOCK_KEY(major, minor, operation, BLOCK_DEVICE);
	if (operation == BLOCK_FLUSH) {
		sonde_observe_key(&block_keyed, slot, key, now - start);
		return;
	}
	if (!issued)
		issued = rq->io_start_time_ns; /* some queues keep it */
	if (!issued) {
		if (start > block_full_ns) /* else it was told then that there was no place for a note */
			sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
		return;
	}
	if (issued < start) /* the kernel may have looked at its clock a little earlier than it says */
		issued = start;
	sonde_observe_key(&block_keyed, slot, key, now - issued);
	key = BLOCK_KEY(major, minor, operation, BLOCK_QUEUE);
	sonde_observe_key(&block_keyed, slot, key, issued - start);
}

/* `error` and `bytes`: of its last part. */
sonde_inline void observe(struct request *rq, uint32_t slot, uint8_t flags, uint32_t operation, struct block_note *note,
			  int error, uint32_t bytes)
{
	struct gendisk *disk = disk_of(rq);
	uint64_t start = rq->start_time_ns, now;

	if (!start && note)
		start = note->made;
	if (!start) {
		block_unstamped = 1;
		sonde_lose(SONDE_LOSS_UNMEASURED, 1);
		return;
	}
	now = bpf_ktime_get_ns();
	if ((int64_t)(now - start) < 0) {
		sonde_lose(SONDE_LOSS_BAD_VALUE, 1);
		return;
	}
	if (flags & BLOCK_FLAG_PHASES)
		observe_phases(rq, slot, operation, start, now, note);
	else if (operation < BLOCK_OPERATIONS)
		sonde_observe(&block_histograms, slot, operation, now - start);
	if (sonde_span_due(slot, SONDE_SPAN_BLOCK_IO, now - start, error))
		block_send_span(slot, BLOCK_SPAN(operation, errno_of(error), bytes), start, now,
				(uint64_t)disk->major << 32 | (uint32_t)disk->first_minor);
}

/* A request may end in parts; the last one is as long as what was left. */
SEC("tp_btf/block_rq_complete")
int BPF_PROG(block_complete, struct request *rq, int error, unsigned int bytes)
{
	struct block_note *note = 0;
	struct block_owner owner;
	bool ends, in_sequence;
	uint32_t slot;
	uint8_t flags;
	int operation;

	if (!is_counted(rq))
		return 0;
	operation = operation_of(rq);
	owner = owner_of(rq);
	in_sequence = in_flush_sequence(rq);
	ends = !in_sequence && bytes >= rq->__data_len;
	if (!owner.exact || block_unstamped)
		note = note_of(rq);
	slot = sonde_answer(&block_answers, note && note->cgroup ? note->cgroup : owner.cgroup, &flags);
	if (!note && (flags & BLOCK_FLAG_PHASES))
		note = note_of(rq);

	if (!error && operation <= BLOCK_WRITE && (flags & BLOCK_FLAG_BYTES))
		sonde_count(&block_counters, slot, BLOCK_READ_BYTES + (operation & 1), bytes);
	if (error && !in_sequence && (flags & BLOCK_FLAG_ERRORS))
		count_error(slot, operation, error);
	if (ends && (flags & BLOCK_FLAG_TIMES))
		observe(rq, slot, flags, operation, note, error, bytes);
	if (ends && note)
		drop_note(rq);
	return 0;
}
