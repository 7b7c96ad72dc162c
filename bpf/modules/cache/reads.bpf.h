/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is asked of the page cache: by tracepoints (Linux 6.7 and later), else at the functions that those stand in. */
#ifndef SONDE_CACHE_READS_H
#define SONDE_CACHE_READS_H

#include "workers.bpf.h"

/* The running task's state if its reads are measured, else 0. */
sonde_inline struct sonde_task *cache_reader(struct task_struct *task)
{
	return cache_task(task, CACHE_FLAG_READ);
}

sonde_inline int cache_asked(struct sonde_task *state, struct task_struct *task, struct address_space *mapping, uint64_t first,
			     uint64_t last)
{
	if (cache_is_worker(task))
		return cache_worker_read(state, task, mapping, first, last);
	if (cache_has_workers(task)) {
		first = cache_behind_fresh(mapping, task, first, last);
		if (first > last)
			return 0;
	}
	return cache_read(state, task, mapping, first, last);
}

SEC("tp_btf/mm_filemap_get_pages")
int BPF_PROG(cache_get_pages, struct address_space *mapping, unsigned long first, unsigned long last)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_reader(task);

	return state ? cache_asked(state, task, mapping, first, last) : 0;
}

SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(cache_fault, struct address_space *mapping, unsigned long index)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_reader(task);

	return state ? cache_faulted(state, task, mapping, index) : 0;
}

SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(cache_map_pages, struct address_space *mapping, unsigned long first, unsigned long last)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_reader(task);

	return state && !mapping_is_memory(mapping) ? cache_mapped(state, task, mapping, first, last) : 0;
}

/* The second argument is the iov_iter before 6.2, and later the number of bytes, with a fourth argument behind. */
SEC("fexit/filemap_get_pages")
int cache_get_pages_fexit(uint64_t *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_reader(task);
	struct kiocb *request = (void *)ctx[0];
	uint64_t result = 0, bytes = 0, position;

	if (!state || bpf_get_func_ret(ctx, &result) || (int)result || bpf_get_func_arg(ctx, 1, &bytes))
		return 0;
	if ((int64_t)bytes < 0)
		bytes = BPF_CORE_READ((struct iov_iter *)bytes, count);
	position = request->ki_pos;
	if (!bytes)
		return 0;
	return cache_asked(state, task, request->ki_filp->f_mapping, position >> cache_page_shift,
			   (position + bytes - 1) >> cache_page_shift);
}

SEC("fentry/filemap_fault")
int BPF_PROG(cache_fault_fentry, struct vm_fault *fault)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_reader(task);

	return state ? cache_faulted(state, task, fault->vma->vm_file->f_mapping, fault->pgoff) : 0;
}

#define VM_FAULT_NOPAGE 0x100 /* enum vm_fault_reason: the page that was needed is mapped */

SEC("fexit/filemap_map_pages")
int BPF_PROG(cache_map_pages_fexit, struct vm_fault *fault, unsigned long first, unsigned long last, unsigned int result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_reader(task);

	if (!state || !(result & VM_FAULT_NOPAGE) || mapping_is_memory(fault->vma->vm_file->f_mapping))
		return 0;
	return cache_mapped(state, task, fault->vma->vm_file->f_mapping, first, last);
}

#endif
