// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The function probe: declared functions of programs and of the kernel. User space attaches these programs to the places
 * that policies name (agent/kernel/function_probes.h); README.md says how. */
#include "calls.bpf.h"

SONDE_LICENSE;

/* Programs on user functions can be preempted, by another task that runs the same program on this CPU. Since 6.13 that
 * task may use the same private stack, so it is kept out where the kernel can (6.10). */
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;
const volatile bool function_guard SEC(".rodata.function") = false;

#define FUNCTION_GUARDED(work)                \
	do {                                  \
		if (function_guard)           \
			bpf_preempt_disable(); \
		work;                         \
		if (function_guard)           \
			bpf_preempt_enable(); \
		return 0;                     \
	} while (0)

SEC("uprobe")
int function_enter(struct pt_regs *ctx)
{
	FUNCTION_GUARDED(function_begin(ctx, FUNCTION_OF_C));
}

SEC("uprobe")
int function_return(struct pt_regs *ctx)
{
	FUNCTION_GUARDED(function_end(ctx, FUNCTION_OF_C, FUNCTION_RETURN_POPS));
}

SEC("uprobe")
int function_go_enter(struct pt_regs *ctx)
{
	FUNCTION_GUARDED(function_begin(ctx, FUNCTION_OF_GO));
}

/* On each return instruction: the return address is still on the stack. */
SEC("uprobe")
int function_go_return(struct pt_regs *ctx)
{
	FUNCTION_GUARDED(function_end(ctx, FUNCTION_OF_GO, 0));
}

SEC("kprobe")
int function_kernel_enter(struct pt_regs *ctx)
{
	function_begin(ctx, FUNCTION_OF_C);
	return 0;
}

SEC("kretprobe")
int function_kernel_return(struct pt_regs *ctx)
{
	function_end(ctx, FUNCTION_OF_C, FUNCTION_RETURN_POPS);
	return 0;
}

/* Templates: user space loads a copy for each function of the kernel that it attaches one to, because the kernel wants to know
 * it then. The function named here is one that it has for tests of such programs; nothing is attached to it. */
SEC("fentry/bpf_fentry_test1")
int function_traced_enter(void *ctx)
{
	function_begin(ctx, FUNCTION_TRACED);
	return 0;
}

SEC("fexit/bpf_fentry_test1")
int function_traced_return(void *ctx)
{
	function_end(ctx, FUNCTION_TRACED, 0);
	return 0;
}

static long function_look_at(struct task_struct *task, struct vm_area_struct *area, struct function_mapping *found)
{
	struct file *file = area->vm_file;
	struct inode *inode;

	if (!file)
		return 0;
	inode = file->f_inode;
	found->inode = (uint64_t)inode;
	found->number = inode->i_ino;
	found->device = inode->i_sb->s_dev;
	return 0;
}

/* Run by user space when it has mapped a file to see which one it is. */
SEC("syscall")
int function_inode(struct function_mapping *asked)
{
	struct function_mapping found = {};
	long failed = bpf_find_vma(bpf_get_current_task_btf(), asked->address, function_look_at, &found, 0);

	asked->inode = found.inode;
	asked->number = found.number;
	asked->device = found.device;
	return failed;
}
