/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* posix_fadvise. Its arguments stand in the caller's registers until it returns, so its end is enough. */
#ifndef SONDE_CACHE_ADVICE_H
#define SONDE_CACHE_ADVICE_H

#include "streams.bpf.h"

#include <sonde/file.h>

#if defined(__TARGET_ARCH_x86)
#define CACHE_FADVISE_NUMBER 221
#define cache_arg4(regs) ((regs)->r10)
#else
#define CACHE_FADVISE_NUMBER 223
#define cache_arg4(regs) ((regs)->regs[3])
#endif

/* Bytes from `offset` to the end of the file behind a descriptor. */
sonde_inline uint64_t cache_bytes_from(struct task_struct *task, uint32_t fd, uint64_t offset)
{
	struct file *file = (struct file *)sonde_file_of(task->files->fdt, fd);
	uint64_t size;

	if (!file)
		return 0;
	size = BPF_CORE_READ(file, f_inode, i_size);
	return size > offset ? size - offset : 0;
}

sonde_inline int cache_advised(struct sonde_task *state, struct task_struct *task, struct pt_regs *regs, long result)
{
	uint64_t offset = sonde_syscall_arg2(regs), bytes = sonde_syscall_arg3(regs);
	uint64_t advice = (uint32_t)cache_arg4(regs);
	uint32_t slot = state->slot;
	uint8_t flags = state->flags[SONDE_MODULE_ID];
	uint64_t *row;

	if (result) {
		if (advice > CACHE_ADVICES)
			advice = CACHE_ADVICES;
		if (flags & CACHE_FLAG_ADVICE)
			sonde_count_key(&cache_cells, slot, CACHE_FAILURE((uint32_t)advice, (uint32_t)-result & 0xffff), 1);
		return 0;
	}
	row = bpf_map_lookup_elem(&cache_counters, &slot);
	barrier_var(advice); /* checked in the register that is used: older verifiers lose the bounds of its lower half */
	if (!row || advice >= CACHE_ADVICES) /* the kernel takes no other */
		return 0;
	if (flags & CACHE_FLAG_ADVICE)
		__sync_fetch_and_add(&row[CACHE_CALLS + advice], 1);
	if (flags & CACHE_FLAG_REQUESTED) {
		if (!bytes)
			bytes = cache_bytes_from(task, (uint32_t)sonde_syscall_arg1(regs), offset);
		__sync_fetch_and_add(&row[CACHE_REQUESTED + advice], bytes);
	}
	return 0;
}

sonde_inline struct sonde_task *cache_adviser(struct task_struct *task)
{
	return cache_task(task, CACHE_FLAG_ADVICE | CACHE_FLAG_REQUESTED);
}

SEC("fexit/" SONDE_SYSCALL_PREFIX CACHE_FADVISE)
int BPF_PROG(cache_fadvise_fexit, struct pt_regs *regs, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_adviser(task);

	return state ? cache_advised(state, task, regs, result) : 0;
}

SEC("tp/syscalls/sys_exit_" CACHE_FADVISE)
int cache_fadvise(struct trace_event_raw_sys_exit *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_adviser(task);

	return state ? cache_advised(state, task, (struct pt_regs *)bpf_task_pt_regs(task), ctx->ret) : 0;
}

/* Where there is no tracefs to name that tracepoint by: each system call of the node runs this. */
SEC("tp_btf/sys_exit")
int BPF_PROG(cache_fadvise_raw, struct pt_regs *regs, long result)
{
	struct task_struct *task;
	struct sonde_task *state;

	if (sonde_syscall_nr(regs) != CACHE_FADVISE_NUMBER || sonde_syscall_is_compat(regs))
		return 0;
	task = bpf_get_current_task_btf();
	state = cache_adviser(task);
	return state ? cache_advised(state, task, regs, result) : 0;
}

#endif
