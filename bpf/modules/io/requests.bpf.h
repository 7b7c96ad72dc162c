/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests of io_uring that are in flight, and what is counted when they end. */
#ifndef SONDE_IO_REQUESTS_H
#define SONDE_IO_REQUESTS_H

#include "operation.bpf.h"

#define IO_INPUT_UNKNOWN 0

struct io_request {
	uint64_t start;
	uint32_t slot;
	uint8_t flags;
	uint8_t call;
	uint8_t input; /* of a splice: enum io_target + 1, or IO_INPUT_UNKNOWN */
	uint8_t reserved;
};

/* By address of the request. Least recently used: requests whose end is never told leave by themselves. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, uint64_t);
	__type(value, struct io_request);
} io_requests SEC(".maps");

/* The side that most likely comes of it: only to know whether, and by which sampling, to take the clock; and the side of
 * a request on one file, once it is known what that leads to. */
sonde_inline uint32_t io_request_note(uint32_t flags, uint32_t call, uint32_t target)
{
	switch (call) {
	case IO_CALL_READ:
	case IO_CALL_WRITE:
		return io_side(flags, io_transfer(target, call - IO_CALL_READ));
	case IO_CALL_SPLICE:
	case IO_CALL_MULTISHOT:
		return io_side(flags, io_transfer(target, IO_READ));
	case IO_CALL_TEE:
		return io_side(flags, io_transfer(target, IO_WRITE));
	case IO_CALL_FSYNC:
		return target == IO_FILE ? io_side(flags, IO_FSYNC) : 0;
	case IO_CALL_CLOSE:
		return io_side(flags, IO_CLOSE);
	case IO_CALL_OPEN:
		return io_side(flags, IO_OPEN);
	case IO_CALL_RENAME:
		return io_side(flags, IO_RENAME);
	case IO_CALL_UNLINK:
		return io_side(flags, IO_UNLINK);
	case IO_CALL_STAT:
		return io_side(flags, IO_STAT);
	}
	return 0;
}

/* Both sides of a splice. One of them is a pipe: if the output is none, the input is it. */
sonde_slow uint32_t io_splice_note(uint32_t flags, uint32_t input, uint32_t output)
{
	uint32_t note = io_side(flags, io_transfer(output, IO_WRITE)) << 8;

	if (input == IO_INPUT_UNKNOWN && output == IO_PIPE) {
		sonde_lose(IO_LOSS_NOT_FOLLOWED, 1);
		return note;
	}
	return note | io_side(flags, io_transfer(input == IO_INPUT_UNKNOWN ? IO_PIPE : input - 1, IO_READ));
}

/* The end of a request that was taken out of the table. */
sonde_slow int io_request_ends(struct io_request *taken, struct io_kiocb *request, int32_t result)
{
	uint32_t target = IO_FILE, note;

	if (!taken)
		return 0;
	if (taken->call < IO_CALL_OPEN || taken->call >= IO_CALL_MULTISHOT)
		target = io_target_of_file((uint64_t)BPF_CORE_READ(request, file));
	if (taken->call == IO_CALL_COMMAND) {
		if (result >= 0 && (target == IO_FILE || target == IO_OTHER))
			sonde_lose(IO_LOSS_NOT_FOLLOWED, 1);
		return 0;
	}
	if (taken->call == IO_CALL_SPLICE)
		note = io_splice_note(taken->flags, taken->input, target);
	else
		note = io_request_note(taken->flags, taken->call, target);
	io_count_note(taken->slot, taken->flags, note, taken->start, result);
	return 0;
}

#endif
