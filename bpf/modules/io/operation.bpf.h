/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One operation from its begin to its end, whatever hook saw it.
 *
 * While a task is in a call that is an operation, sonde_context.start is not 0 and sonde_context.operation is a note:
 * the side (enum io_operation + 1, 0: nothing to count) that reads in bits 0..7, another side, of a transfer between two
 * files, in bits 8..15, and from bit 32 on the slot it began in. A call that was seen but is not asked for has no sides:
 * so a call whose begin nobody saw can be told apart.
 */
#ifndef SONDE_IO_OPERATION_H
#define SONDE_IO_OPERATION_H

#include "calls.bpf.h"
#include "target.bpf.h"

#include <sonde/span.h>

#define IO_NOT_TIMED 1 /* sonde_context.start of an operation whose clock was not taken */

uint64_t io_state[IO_STATE_PLACES] = {};

SONDE_ROWS(io, IO_COUNTERS, IO_HISTOGRAMS);
SONDE_CELL_ROWS(io);
SONDE_GAUGE_ROWS(io, IO_GAUGES);

/* The flags by which an operation is counted at all, and by which it is timed. */
const uint8_t io_counted[IO_HISTOGRAMS] = {
	[IO_READ] = IO_BYTES | IO_OPERATIONS | IO_ERRORS,
	[IO_WRITE] = IO_BYTES | IO_OPERATIONS | IO_ERRORS,
	[IO_STREAMS ... IO_TRANSFERS - 1] = IO_STREAM,
	[IO_FSYNC] = IO_OPERATIONS | IO_ERRORS,
	[IO_OPEN ... IO_STAT] = IO_DETAIL,
};
const uint8_t io_timed[IO_HISTOGRAMS] = {
	[IO_READ] = IO_OPERATIONS,
	[IO_WRITE] = IO_OPERATIONS,
	[IO_STREAMS ... IO_TRANSFERS - 1] = IO_STREAM,
	[IO_FSYNC] = IO_OPERATIONS,
	[IO_OPEN ... IO_STAT] = IO_DETAIL,
};

sonde_inline uint32_t io_transfer(uint32_t target, uint32_t direction)
{
	return target * 2 + direction;
}

/* An operation that the verifier believes to be below IO_HISTOGRAMS. The compiler often knows it, drops the mask and
 * leaves the verifier of older kernels without proof; so it must not know. */
sonde_inline uint32_t io_bounded(uint32_t operation)
{
	barrier_var(operation);
	return operation & 15;
}

/* The side's number in a note, 0 if this operation is not requested. */
sonde_inline uint32_t io_side(uint32_t flags, uint32_t operation)
{
	return flags & io_counted[io_bounded(operation)] ? operation + 1 : 0;
}

sonde_slow uint32_t io_note_of_pair(uint64_t current, uint32_t flags, uint32_t in, uint32_t out)
{
	return io_side(flags, io_transfer(io_target_of(current, in), IO_READ)) |
	       io_side(flags, io_transfer(io_target_of(current, out), IO_WRITE)) << 8;
}

#define IO_CALL_AND_FLAGS(call, flags) ((call) | (flags) << 8)

/* Any call, from its first three arguments. */
sonde_slow uint32_t io_note_of_any(uint64_t current, uint32_t call_and_flags, uint64_t first, uint64_t second,
				   uint64_t third)
{
	uint32_t call = call_and_flags & 0xff, flags = call_and_flags >> 8, target;

	switch (call) {
	case IO_CALL_AIO_SUBMIT:
	case IO_CALL_AIO_EVENTS:
		return 0;
	case IO_CALL_VMSPLICE:
		target = io_writable(current, first) ? IO_WRITE : IO_READ;
		return io_side(flags, io_transfer(io_target_of(current, first), target));
	case IO_CALL_TEE:
		return io_side(flags, io_transfer(io_target_of(current, second), IO_WRITE));
	case IO_CALL_SENDFILE:
		return io_note_of_pair(current, flags, second, first);
	case IO_CALL_SPLICE:
		return io_note_of_pair(current, flags, first, third);
	case IO_CALL_OPEN:
		return io_side(flags, IO_OPEN);
	case IO_CALL_RENAME:
		return io_side(flags, IO_RENAME);
	case IO_CALL_UNLINK:
		return io_side(flags, IO_UNLINK);
	case IO_CALL_STAT:
		return io_side(flags, IO_STAT);
	}
	target = io_target_of(current, first);
	if (call <= IO_CALL_WRITE)
		return io_side(flags, io_transfer(target, call - IO_CALL_READ));
	if (target != IO_FILE)
		return 0;
	return io_side(flags, call == IO_CALL_FSYNC ? IO_FSYNC : call == IO_CALL_CLOSE ? IO_CLOSE : IO_STAT);
}

sonde_inline uint32_t io_note_of(uint64_t current, uint32_t flags, uint32_t call, struct pt_regs *regs)
{
	if (call <= IO_CALL_WRITE) /* the hot path stays in line */
		return io_side(flags, io_transfer(io_target_of(current, sonde_syscall_arg1(regs)), call - IO_CALL_READ));
	return io_note_of_any(current, IO_CALL_AND_FLAGS(call, flags), sonde_syscall_arg1(regs), sonde_syscall_arg2(regs),
			      sonde_syscall_arg3(regs));
}

/* Is this the one in so many whose clock is taken? Counted per subject and operation, so that a program that always
 * reads and writes in turn has both timed. */
sonde_slow int io_sampled(uint32_t slot, uint32_t operation, uint32_t every)
{
	uint64_t *row = bpf_map_lookup_elem(&io_counters, &slot);

	if (!row || !every)
		return 0;
	return __sync_fetch_and_add((uint32_t *)(row + IO_SAMPLERS) + io_bounded(operation), 1) % every == 0;
}

/* Start of an operation: the clock, or IO_NOT_TIMED. */
sonde_inline uint64_t io_start(uint32_t slot, uint32_t flags, uint32_t note)
{
	uint32_t side = io_bounded((note & 0xff ? note : note >> 8) - 1);
	struct sonde_slot_config *config;
	uint32_t every;

	if (!note || !(flags & io_timed[side]))
		return IO_NOT_TIMED;
	config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	every = config ? config->sample[SONDE_MODULE_ID] : 0;
	if (every > 1 && !io_sampled(slot, side, every))
		return IO_NOT_TIMED;
	return bpf_ktime_get_ns();
}

/* From here on functions that are not static: the verifier looks at those once, and not again at each call. */
__noinline int io_count_failure(uint32_t slot, uint32_t operation, uint64_t error)
{
	if (error >= ERESTARTSYS && error <= ERESTART_LAST)
		error = EINTR;
	sonde_count_key(&io_cells, slot, IO_ERROR_KEY(operation, error), 1);
	return 0;
}

#define IO_NO_SPAN 0xff

const uint8_t io_spans[IO_HISTOGRAMS] = {
	[IO_READ] = SONDE_SPAN_READ,
	[IO_WRITE] = SONDE_SPAN_WRITE,
	[IO_STREAMS ... IO_TRANSFERS - 1] = IO_NO_SPAN,
	[IO_FSYNC] = SONDE_SPAN_FSYNC,
	[IO_OPEN] = SONDE_SPAN_OPEN,
	[IO_CLOSE] = IO_NO_SPAN,
	[IO_RENAME] = SONDE_SPAN_RENAME,
	[IO_UNLINK] = SONDE_SPAN_UNLINK,
	[IO_STAT] = IO_NO_SPAN,
};

__noinline int io_send_span(uint32_t slot, uint32_t operation, uint64_t start, uint64_t end, int64_t result)
{
	struct sonde_span *span = sonde_span_begin(slot, operation, start, end, -result);

	if (!span)
		return 0;
	sonde_span_of(span, bpf_get_current_task_btf());
	if (result > 0 && operation <= SONDE_SPAN_WRITE) {
		span->bytes = result;
		span->direction = operation == SONDE_SPAN_READ ? SONDE_SPAN_READS : SONDE_SPAN_WRITES;
	}
	bpf_ringbuf_submit(span, 0);
	return 0;
}

sonde_inline void io_count_side(uint32_t slot, uint32_t flags, uint32_t operation, uint64_t start, uint64_t end,
				int64_t result)
{
	operation = io_bounded(operation);
	if (result < 0) {
		if (flags & IO_ERRORS && (operation < IO_STREAMS || operation >= IO_TRANSFERS) && result >= -MAX_ERRNO)
			io_count_failure(slot, operation, -result);
	} else if (result > 0 && operation < IO_TRANSFERS && (operation >= IO_STREAMS || flags & IO_BYTES)) {
		sonde_count(&io_counters, slot, operation, result);
	}
	if (start == IO_NOT_TIMED || !(flags & io_timed[operation]))
		return;
	if (end < start) {
		sonde_lose(SONDE_LOSS_BAD_VALUE, 1);
		return;
	}
	sonde_observe(&io_histograms, slot, operation, end - start);
	if (sonde_span_due(slot, io_spans[operation], end - start, result < 0))
		io_send_span(slot, io_spans[operation], start, end, result);
}

#define IO_FLAGS_AND_OPERATION(flags, operation) ((flags) | (operation) << 8)

/* Transfers between two descriptors are few: their second side is counted out of line. */
__noinline int io_count_second_side(uint32_t slot, uint32_t flags_and_operation, uint64_t start, uint64_t end,
				    int64_t result)
{
	io_count_side(slot, flags_and_operation & 0xff, flags_and_operation >> 8, start, end, result);
	return 0;
}

/* The end of an operation: all that is to be counted of it. */
sonde_inline void io_count_note_inline(uint32_t slot, uint32_t flags, uint32_t note, uint64_t start, int64_t result)
{
	uint64_t end = start == IO_NOT_TIMED ? start : bpf_ktime_get_ns();

	if (note & 0xff)
		io_count_side(slot, flags, (note & 0xff) - 1, start, end, result);
	if (note >> 8)
		io_count_second_side(slot, IO_FLAGS_AND_OPERATION(flags, (note >> 8) - 1), start, end, result);
}

__noinline int io_count_note(uint32_t slot, uint32_t flags, uint32_t note, uint64_t start, int64_t result)
{
	io_count_note_inline(slot, flags, note, start, result);
	return 0;
}

#endif
