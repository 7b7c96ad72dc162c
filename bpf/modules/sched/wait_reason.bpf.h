/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Why a thread does not run, from what can be read of it when it leaves its CPU, or later while it sleeps: its state, a few
 * flags that the kernel sets around the waits that matter, and the system call it is in. Nothing is remembered of the call,
 * so it costs nothing while threads run; only a thread that blocks is looked at. */
#ifndef SONDE_SCHED_WAIT_REASON_H
#define SONDE_SCHED_WAIT_REASON_H

#include "calls.bpf.h"

#include <sonde/file.h>
#include <sonde/inode.h>
#include <sonde/swap.h>
#include <sonde/who.h>

/* include/linux/sched.h */
#define TASK_INTERRUPTIBLE 0x1
#define TASK_UNINTERRUPTIBLE 0x2
#define TASK_STOPPED_OR_TRACED 0xc
#define TASK_DEAD 0x80
#define TASK_WAKING 0x200
#define TASK_FROZEN 0x8000 /* since 6.1 */
#define PF_IO_WORKER 0x10
#define PF_MEMALLOC 0x800
#define PF_KTHREAD 0x200000
#define JOBCTL_TRAP_FREEZE (1UL << 23) /* include/linux/sched/jobctl.h: cgroup.freeze */

sonde_inline uint32_t reason_of_inode(uint32_t mode, uint32_t flags)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return flags & S_ANON_INODE ? SCHED_THREAD_SLEEP : SCHED_THREAD_DISK;
	case S_IFDIR:
	case S_IFBLK:
	case S_IFLNK:
		return SCHED_THREAD_DISK;
	case S_IFSOCK:
		return SCHED_THREAD_NETWORK;
	}
	return SCHED_THREAD_SLEEP; /* pipes, terminals, eventfd, timerfd, inotify: somebody else's turn */
}

sonde_inline uint32_t reason_of_descriptor(struct task_struct *task, uint32_t fd)
{
	uint64_t file = sonde_file_of(task->files->fdt, fd);

	if (!file)
		return SCHED_THREAD_OTHER;
	if (sonde_have_cast) {
		struct inode *inode = sonde_cast((void *)file, struct file)->f_inode;

		return reason_of_inode(inode->i_mode, inode->i_flags);
	} else {
		struct inode *inode = BPF_CORE_READ((struct file *)file, f_inode);

		return reason_of_inode(BPF_CORE_READ(inode, i_mode), BPF_CORE_READ(inode, i_flags));
	}
}

sonde_inline uint32_t reason_of_call(struct task_struct *task, uint32_t asleep)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	int64_t number = (int)sonde_syscall_nr(regs);
	uint32_t call;

	if (number < 0) /* a page fault, and none of the waits for a disk or a lock that are told apart before */
		return asleep & TASK_UNINTERRUPTIBLE ? SCHED_THREAD_MEMORY : SCHED_THREAD_OTHER;
	if (sonde_syscall_is_compat(regs))
		return SCHED_THREAD_OTHER;
	call = sched_calls[number & (SCHED_CALL_NUMBERS - 1)];
	switch (call) {
	case CALL_UNKNOWN:
		return SCHED_THREAD_OTHER;
	case CALL_FD:
		return reason_of_descriptor(task, sonde_syscall_arg1(regs));
	case CALL_FILE:
		return asleep & TASK_UNINTERRUPTIBLE ? SCHED_THREAD_DISK : SCHED_THREAD_SLEEP;
	case CALL_POLL:
		return (uint32_t)sonde_syscall_arg2(regs) ? SCHED_THREAD_NETWORK : SCHED_THREAD_SLEEP;
	case CALL_SELECT:
		return (uint32_t)sonde_syscall_arg1(regs) ? SCHED_THREAD_NETWORK : SCHED_THREAD_SLEEP;
	}
	return call;
}

/* Which of the task's page faults it is in: they are counted when they are done, so whatever it waits for until then belongs to
 * the same. Never 0. */
sonde_inline uint32_t swap_mark(struct task_struct *task)
{
	return ((uint32_t)task->maj_flt + (uint32_t)task->min_flt) | 1U << 31;
}

/* enum sched_thread_state of a thread that is blocked. `asleep`: its __state, not 0. `in_lock`: it announced that it has to
 * wait for a lock of the kernel, and does not have it yet. `swap_in`: sched_task.swap_in. */
sonde_slow uint32_t wait_reason(struct task_struct *task, uint32_t asleep, uint32_t in_lock, uint32_t swap_in)
{
	uint32_t flags;

	if (!task)
		return SCHED_THREAD_OTHER;
	if (asleep & (TASK_STOPPED_OR_TRACED | TASK_FROZEN))
		return SCHED_THREAD_STOPPED;
	if ((asleep & TASK_INTERRUPTIBLE) && (task->jobctl & JOBCTL_TRAP_FREEZE))
		return SCHED_THREAD_STOPPED;
	flags = task->flags;
	if (flags & PF_MEMALLOC)
		return SCHED_THREAD_MEMORY;
	if (bpf_core_field_exists(task->in_memstall) && BPF_CORE_READ_BITFIELD(task, in_memstall))
		return SCHED_THREAD_MEMORY;
	if (in_lock && (asleep & TASK_UNINTERRUPTIBLE)) /* most are; a note that is out of date must not colour a long sleep */
		return SCHED_THREAD_LOCK;
	if (BPF_CORE_READ_BITFIELD(task, in_iowait))
		return swap_in && swap_in == swap_mark(task) ? SCHED_THREAD_MEMORY : SCHED_THREAD_DISK;
	if (flags & (PF_IO_WORKER | PF_KTHREAD))
		return SCHED_THREAD_SLEEP;
	return reason_of_call(task, asleep);
}

#endif
