/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Begin and end of a system call, for both ways to see them: the tracepoints of all calls, or fentry and fexit on the
 * functions of those that matter. Registers and result are the same, so the counts are, too. */
#ifndef SONDE_IO_SYSCALL_H
#define SONDE_IO_SYSCALL_H

#include "aio.bpf.h"

/* `call` is IO_CALL_NONE for calls that are not ours: they end what an unseen return may have left behind. */
sonde_inline int io_call_begins(struct sonde_context *context, struct pt_regs *regs, uint32_t call)
{
	uint32_t flags = context->flags[SONDE_MODULE_ID], note;

	if (call == IO_CALL_NONE) {
		context->start = 0;
		return 0;
	}
	note = io_note_of(context->task, flags, call, regs);
	if (!note && call == IO_CALL_AIO_SUBMIT)
		io_aio_submits(sonde_syscall_arg1(regs), sonde_syscall_arg2(regs), sonde_syscall_arg3(regs), context->slot,
			       flags);
	context->operation = note | (uint64_t)context->slot << 32;
	context->start = io_start(context->slot, flags, note);
	return 0;
}

/* Calls that are no operations themselves. */
sonde_inline int io_aio_call_ends(struct sonde_context *context, struct pt_regs *regs, uint32_t call, int64_t result)
{
	if (!context)
		return 0;
	if (call == IO_CALL_AIO_EVENTS) {
		uint32_t flags = context->flags[SONDE_MODULE_ID], how = flags & IO_ENTRY ? IO_AIO_TIMED : IO_AIO_EARLY;

		return io_aio_handed(sonde_syscall_arg1(regs), io_arg4(regs), result,
				     IO_AIO_HOW(how, context->slot, flags));
	}
	return io_aio_submitted(sonde_syscall_arg2(regs), sonde_syscall_arg3(regs), result);
}

/* If only bytes are asked, requests are noted when they have begun. */
sonde_inline int io_aio_call_without_begin(struct sonde_context *context, struct pt_regs *regs, uint32_t call,
					 int64_t result)
{
	uint32_t flags = context->flags[SONDE_MODULE_ID];

	if (call == IO_CALL_AIO_EVENTS)
		return io_aio_call_ends(context, regs, call, result);
	if (flags & IO_ENTRY) {
		if (result > 0 && context->calls_seen != (uint32_t)io_state[IO_BEGUN])
			sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, result);
	} else if (result > 0) {
		io_aio_submits(sonde_syscall_arg1(regs), result, sonde_syscall_arg3(regs), context->slot, flags);
	}
	return 0;
}

/* A call whose end was seen without its begin. If the ends of this task's calls were seen before, its begin was passed by:
 * seccomp or a tracer answered it, before the kernel announced it. A failure is one like any other, though of no duration;
 * what else such an answer means only who gave it knows. If only bytes are asked, the end is all there is to know. */
sonde_slow int io_call_without_begin(struct sonde_context *context, struct pt_regs *regs, uint32_t call, int64_t result)
{
	uint32_t flags, note;

	if (!context)
		return 0;
	flags = context->flags[SONDE_MODULE_ID];
	if (call >= IO_CALL_AIO_SUBMIT)
		return io_aio_call_without_begin(context, regs, call, result);
	note = io_note_of(context->task, flags, call, regs);
	if (flags & IO_ENTRY) {
		if (note && context->calls_seen != (uint32_t)io_state[IO_BEGUN])
			sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
		else if (note && result < 0)
			io_count_note(context->slot, flags, note, IO_NOT_TIMED, result);
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

	if (start == 0 || (start < io_state[IO_BEGUN] && start != IO_NOT_TIMED)) {
		context->start = 0;
		if (call != IO_CALL_NONE)
			io_call_without_begin(context, regs, call, result);
		return 0;
	}
	if (context->operation >> 32 != context->slot)
		return io_call_moved(context);
	context->start = 0;
	if (call == IO_CALL_NONE)
		return 0;
	if (!note)
		return call >= IO_CALL_AIO_SUBMIT ? io_aio_call_ends(context, regs, call, result) : 0;
	if (hot)
		io_count_note_inline(context->slot, context->flags[SONDE_MODULE_ID], note, start, result);
	else
		io_count_note(context->slot, context->flags[SONDE_MODULE_ID], note, start, result);
	return 0;
}

#endif
