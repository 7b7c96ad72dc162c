/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Begin and end of a system call, for both ways to see them: the tracepoints of all calls, or fentry and fexit on the
 * functions of those that matter. Registers and result are the same, so the counts are, too. */
#ifndef SONDE_IO_SYSCALL_H
#define SONDE_IO_SYSCALL_H

#include "operation.h"

/* CLOCK_MONOTONIC when these programs were last attached. What a task was doing when they were detached before says
 * nothing about what it does now. */
uint64_t io_begun = 0;

/* `call` is IO_CALL_NONE for calls that are not ours: they end what an unseen return may have left behind. */
sonde_inline int io_call_begins(struct sonde_context *context, struct pt_regs *regs, uint32_t call)
{
	uint32_t flags = context->flags[SONDE_MODULE_ID], note;

	if (call == IO_CALL_NONE) {
		context->start = 0;
		return 0;
	}
	note = io_note_of(context->task, flags, call, regs);
	context->operation = note | (uint64_t)context->slot << 32;
	context->start = io_start(context->slot, flags, note);
	return 0;
}

/* A call that was not seen to begin. If only bytes are asked, that is all there is to know. */
sonde_slow int io_call_without_begin(struct sonde_context *context, struct pt_regs *regs, uint32_t call, int64_t result)
{
	uint32_t flags, note;

	if (!context)
		return 0;
	flags = context->flags[SONDE_MODULE_ID];
	note = io_note_of(context->task, flags, call, regs);
	if (flags & IO_ENTRY) {
		if (note)
			sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
	} else {
		io_count_note(context->slot, flags, note, IO_NOT_TIMED, result);
	}
	return 0;
}

/* The task has another subject than when the call began: it moved itself (the write to cgroup.procs is such a call), was
 * moved, or a policy changed. Neither subject did all of it. */
sonde_slow int io_call_moved(struct sonde_context *context)
{
	if (!context)
		return 0;
	context->start = 0;
	if ((uint32_t)context->operation)
		sonde_lose(SONDE_LOSS_MOVED, 1);
	return 0;
}

/* A call ends whose subject is not measured: something is to be said only if it was when the call began. */
sonde_inline int io_call_of_nobody_ends(struct sonde_context *context)
{
	return context->start ? io_call_moved(context) : 0;
}

/* `hot`: worth a copy of the counting in line, which is a constant. */
sonde_inline int io_call_ends(struct sonde_context *context, struct pt_regs *regs, uint32_t call, int64_t result, bool hot)
{
	uint64_t start = context->start;
	uint32_t note = context->operation;

	if (start == 0 || (start < io_begun && start != IO_NOT_TIMED)) {
		context->start = 0;
		if (call != IO_CALL_NONE)
			io_call_without_begin(context, regs, call, result);
		return 0;
	}
	if (context->operation >> 32 != context->slot)
		return io_call_moved(context);
	context->start = 0;
	if (call == IO_CALL_NONE || !note)
		return 0;
	if (hot)
		io_count_note_inline(context->slot, context->flags[SONDE_MODULE_ID], note, start, result);
	else
		io_count_note(context->slot, context->flags[SONDE_MODULE_ID], note, start, result);
	return 0;
}

#endif
