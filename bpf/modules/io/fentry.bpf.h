/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Alternative "fentry": two programs for each system call that matters, none for the others. The functions take the
 * caller's registers as their only argument (CONFIG_ARCH_HAS_SYSCALL_WRAPPER: x86-64, arm64). 32-bit callers enter by
 * functions of other names and are not seen. */
#ifndef SONDE_IO_FENTRY_H
#define SONDE_IO_FENTRY_H

#include "syscall.bpf.h"

#include <sonde/syscalls.h>

sonde_inline int io_function_begins(struct pt_regs *regs, uint32_t call)
{
	struct sonde_context *context = sonde_who(regs);

	if (!context || !(context->flags[SONDE_MODULE_ID] & IO_ENTRY))
		return 0;
	return io_call_begins(context, regs, call);
}

sonde_inline int io_function_ends_at(struct pt_regs *regs, uint32_t call, int64_t result, bool hot)
{
	struct sonde_context *context = sonde_who(regs);

	if (!context)
		return 0;
	if (!(context->flags[SONDE_MODULE_ID] & (IO_ENTRY | IO_BYTES)))
		return io_call_of_nobody_ends(context);
	return io_call_ends(context, regs, call, result, hot);
}

sonde_inline int io_function_ends(struct pt_regs *regs, uint32_t call, int64_t result)
{
	return io_function_ends_at(regs, call, result, true);
}

/* Calls that are rarer than read and write share one copy of the handlers. */
sonde_slow int io_function_begins_any(struct pt_regs *regs, uint32_t call)
{
	return io_function_begins(regs, call);
}

sonde_slow int io_function_ends_any(struct pt_regs *regs, uint32_t call, int64_t result)
{
	return io_function_ends_at(regs, call, result, false);
}

#define IO_PROGRAMS(name, call, begins, ends)                       \
	SEC("fentry/" SONDE_SYSCALL(name))                            \
	int BPF_PROG(io_enter_##name, struct pt_regs *regs)         \
	{                                                           \
		return begins(regs, call);                          \
	}                                                           \
	SEC("fexit/" SONDE_SYSCALL(name))                             \
	int BPF_PROG(io_exit_##name, struct pt_regs *regs, long result) \
	{                                                           \
		return ends(regs, call, result);                    \
	}
#define IO_HOT(name, call) IO_PROGRAMS(name, call, io_function_begins, io_function_ends)
#define IO_ANY(name, call) IO_PROGRAMS(name, call, io_function_begins_any, io_function_ends_any)

IO_HOT(read, IO_CALL_READ)
IO_HOT(pread64, IO_CALL_READ)
IO_ANY(readv, IO_CALL_READ)
IO_ANY(preadv, IO_CALL_READ)
IO_ANY(preadv2, IO_CALL_READ)
IO_HOT(write, IO_CALL_WRITE)
IO_HOT(pwrite64, IO_CALL_WRITE)
IO_ANY(writev, IO_CALL_WRITE)
IO_ANY(pwritev, IO_CALL_WRITE)
IO_ANY(pwritev2, IO_CALL_WRITE)
IO_ANY(sendfile64, IO_CALL_SENDFILE)
IO_ANY(splice, IO_CALL_SPLICE)
IO_ANY(tee, IO_CALL_TEE)
IO_ANY(vmsplice, IO_CALL_VMSPLICE)
IO_ANY(copy_file_range, IO_CALL_SPLICE)
IO_ANY(io_submit, IO_CALL_AIO_SUBMIT)
IO_ANY(io_getevents, IO_CALL_AIO_EVENTS)
IO_ANY(io_pgetevents, IO_CALL_AIO_EVENTS)
IO_ANY(fsync, IO_CALL_FSYNC)
IO_ANY(fdatasync, IO_CALL_FSYNC)
IO_ANY(openat, IO_CALL_OPEN)
IO_ANY(openat2, IO_CALL_OPEN)
IO_ANY(open_by_handle_at, IO_CALL_OPEN)
IO_ANY(close, IO_CALL_CLOSE)
IO_ANY(renameat, IO_CALL_RENAME)
IO_ANY(renameat2, IO_CALL_RENAME)
IO_ANY(unlinkat, IO_CALL_UNLINK)
IO_ANY(newfstat, IO_CALL_FSTAT)
IO_ANY(newfstatat, IO_CALL_STAT)
IO_ANY(statx, IO_CALL_STAT)
#if defined(__TARGET_ARCH_x86)
IO_ANY(open, IO_CALL_OPEN)
IO_ANY(creat, IO_CALL_OPEN)
IO_ANY(rename, IO_CALL_RENAME)
IO_ANY(unlink, IO_CALL_UNLINK)
IO_ANY(rmdir, IO_CALL_UNLINK)
IO_ANY(newstat, IO_CALL_STAT)
IO_ANY(newlstat, IO_CALL_STAT)
#endif

#endif
