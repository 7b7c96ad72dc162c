/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looks at every thread of the machine from user space's side, for what no event tells: threads that sleep, tables of open
 * files. An agent in a PID namespace of its own (a pod without hostPID) must see them all, and iter/task shows its own
 * namespace only. So there are three ways, of which the agent loads the first that shows the whole machine
 * (agent/module/threads.h):
 *   <name>_all      the kernel's own loop over tasks (bpf_iter_task_new, since 6.7), run as a syscall program
 *   <name>_listed   thread ids that user space read from the machine's /proc, each looked up in the first namespace
 *                   (bpf_task_from_pid, since 6.2)
 *   <name>          iter/task
 *
 *   SONDE_THREADS(sched)                         declares sched_tids, the list
 *   SONDE_WALK(sched, sched_walk, charge)        declares the three programs: int charge(struct task_struct *task)
 */
#ifndef SONDE_THREADS_H
#define SONDE_THREADS_H

#include <sonde/bpf.h>

extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task, unsigned int flags) __ksym __weak;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym __weak;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

/* Where the kernel has no such function the branch is removed at load. */
const volatile bool sonde_have_task_iterator = false;
const volatile bool sonde_have_task_from_pid = false;

/* Thread ids of one run; 0: none. User space refills it until all have been visited. */
#define SONDE_THREADS(module)                                  \
	struct {                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);              \
		__uint(map_flags, BPF_F_MMAPABLE);             \
		__uint(max_entries, SONDE_TIDS);               \
		__type(key, uint32_t);                         \
		__type(value, uint64_t);                       \
	} module##_tids SEC(".maps")

#define SONDE_WALK_ALL(name, each)                                                    \
	SEC("syscall")                                                                \
	int name##_all(void *ctx)                                                     \
	{                                                                             \
		struct bpf_iter_task threads;                                         \
		struct task_struct *task;                                             \
                                                                                      \
		if (!sonde_have_task_iterator)                                        \
			return 0;                                                     \
		bpf_rcu_read_lock();                                                  \
		bpf_iter_task_new(&threads, 0, BPF_TASK_ITER_ALL_THREADS);            \
		while ((task = bpf_iter_task_next(&threads)))                         \
			each(task);                                                   \
		bpf_iter_task_destroy(&threads);                                      \
		bpf_rcu_read_unlock();                                                \
		return 0;                                                             \
	}

#define SONDE_WALK(module, name, each)                                                \
	SONDE_WALK_ALL(name, each)                                                    \
                                                                                      \
	static long name##_one(uint32_t place, void *unused)                          \
	{                                                                             \
		uint64_t *tid = bpf_map_lookup_elem(&module##_tids, &place);          \
		struct task_struct *task;                                             \
                                                                                      \
		if (!tid || !*tid)                                                    \
			return 1;                                                     \
		task = bpf_task_from_pid(*tid);                                       \
		if (!task)                                                            \
			return 0;                                                     \
		each(task);                                                           \
		bpf_task_release(task);                                               \
		return 0;                                                             \
	}                                                                             \
                                                                                      \
	/* An iterator over whatever it shows, since these may call that function: all is done at its first task. */ \
	SEC("iter/task")                                                              \
	int name##_listed(struct bpf_iter__task *ctx)                                 \
	{                                                                             \
		if (sonde_have_task_from_pid && ctx->task && !ctx->meta->seq_num)     \
			bpf_loop(SONDE_TIDS, name##_one, 0, 0);                       \
		return 0;                                                             \
	}                                                                             \
                                                                                      \
	SEC("iter/task")                                                              \
	int name(struct bpf_iter__task *ctx)                                          \
	{                                                                             \
		return ctx->task ? each(ctx->task) : 0;                               \
	}

#endif
