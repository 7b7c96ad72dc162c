/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Alternative "tracepoints": two programs that see every system call. */
#ifndef SONDE_IO_TRACEPOINTS_H
#define SONDE_IO_TRACEPOINTS_H

#include "syscall.bpf.h"

sonde_inline uint32_t io_call_of(uint64_t number)
{
	return number < IO_CALL_NUMBERS ? io_calls[number] : IO_CALL_NONE;
}

/* 32-bit callers have other numbers and pass arguments elsewhere. Not counted, but said so, if it is what we count. */
sonde_slow int io_lose_compat(struct sonde_context *context, struct pt_regs *regs)
{
	uint64_t number = sonde_syscall_nr(regs) & 0xffffffff;
	uint32_t call;

	if (!context || number >= IO_CALL_NUMBERS)
		return 0;
	call = io_compat_calls[number];
	if (call != IO_CALL_NONE &&
	    io_note_of_any(context->task, IO_CALL_AND_FLAGS(call, context->flags[SONDE_MODULE_ID]),
			   sonde_compat_arg1(regs), sonde_compat_arg2(regs), sonde_compat_arg3(regs)))
		sonde_lose(IO_LOSS_COMPAT, 1);
	return 0;
}

/* From now on each call of this task is seen from its begin. */
sonde_slow int io_note_seen(struct sonde_context *context)
{
	struct sonde_task *state = sonde_task_of(bpf_get_current_task_btf());

	if (state && context)
		context->calls_seen = state->calls_seen = (uint32_t)io_state[IO_BEGUN];
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(io_sys_enter, struct pt_regs *regs, long number)
{
	struct sonde_context *context = sonde_who(regs);

	if (!context || !(context->flags[SONDE_MODULE_ID] & IO_ENTRY))
		return 0;
	if (sonde_syscall_is_compat(regs)) {
		context->start = 0;
		return 0;
	}
	return io_call_begins(context, regs, io_call_of(number));
}

SEC("tp_btf/sys_exit")
int BPF_PROG(io_sys_exit, struct pt_regs *regs, long result)
{
	struct sonde_context *context = sonde_who(regs);

	if (!context)
		return 0;
	if (!(context->flags[SONDE_MODULE_ID] & (IO_ENTRY | IO_BYTES)))
		return io_call_of_nobody_ends(context);
	if (sonde_syscall_is_compat(regs))
		return io_lose_compat(context, regs);
	io_call_ends(context, regs, io_call_of(sonde_syscall_nr(regs)), result, true);
	if (context->calls_seen != (uint32_t)io_state[IO_BEGUN] && context->flags[SONDE_MODULE_ID] & IO_ENTRY)
		io_note_seen(context);
	return 0;
}

#endif
