/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is running, which slot has it, and what is it measured for?
 *
 * Three ways to ask:
 *   sonde_who(regs)        system calls: the per-CPU context, checked against the address of the caller's registers;
 *                          some 2 ns when the same task asked last on this CPU.
 *   sonde_task_of(task)    any other hook, any task: its storage, some 18 ns.
 *   sonde_slot_of_cgroup   hooks where no task is to be charged, but a socket's, a bio's or a memcg's cgroup.
 * The first two check the generation: an answer is never older than the last policy change or move between cgroups. The
 * check is needed: not every context switch is seen by BPF, and a task can move itself without a switch.
 *
 * The cgroup is read from task->cgroups->dfl_cgrp (v2 tree, also below a hybrid mount), not by helper: the helper
 * answers for `current` only and takes 25 ns.
 */
#ifndef SONDE_WHO_H
#define SONDE_WHO_H

#include <sonde/rows.h>
#include <sonde/shims.h>

sonde_inline struct sonde_globals *sonde_global(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&sonde_globals, &zero);
}

sonde_inline uint64_t sonde_cgroup_of(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp->kn->id;
}

/* This module's flags of a slot; 0: not measured. */
sonde_inline uint8_t sonde_flags_of(uint32_t slot)
{
	struct sonde_slot_config *config = bpf_map_lookup_elem(&sonde_slot_config, &slot);

	return config ? config->flags[SONDE_MODULE_ID] : 0;
}

/* The slot of the subject whose cgroup (v2 id) this is, and this module's flags of it. Processes are not told apart:
 * no task is known. Two look-ups, some 30 ns: ask only where the task's own storage cannot say it. */
sonde_inline uint32_t sonde_slot_of_cgroup(uint64_t cgroup_id, uint8_t *flags)
{
	struct sonde_subject *subject = bpf_map_lookup_elem(&sonde_subjects, &cgroup_id);
	uint32_t slot = subject ? subject->slot : SONDE_SLOT_UNATTRIBUTED;

	*flags = sonde_flags_of(slot);
	return slot;
}

/* A slot for a process, or 0. However many processes there are, half of all slots are left for containers. */
sonde_inline uint32_t sonde_take_process_slot(struct sonde_globals *globals)
{
	uint32_t slot;

	if (__sync_fetch_and_add(&globals->process_slots, -1) > 0 && !bpf_map_pop_elem(&sonde_free_slots, &slot))
		return slot;
	__sync_fetch_and_add(&globals->process_slots, 1);
	return 0;
}

sonde_inline void sonde_return_process_slot(struct sonde_globals *globals, uint32_t slot)
{
	bpf_map_push_elem(&sonde_free_slots, &slot, 0);
	__sync_fetch_and_add(&globals->process_slots, 1);
}

/* The slot of a process of a subject whose policy asks for processes; the container's own slot if there is none left. */
sonde_slow uint32_t sonde_process_slot(struct task_struct *task, uint32_t container)
{
	struct sonde_process_key key = {.tgid = task->tgid, .slot = container};
	uint32_t *found, slot;
	struct sonde_slot_config *config, *parent;
	struct sonde_slot_info *info, *parent_info;
	struct sonde_span_config *spans, *parent_spans;
	struct sonde_globals *globals = sonde_global();
	struct task_struct *leader;

	found = bpf_map_lookup_elem(&sonde_processes, &key);
	if (found)
		return *found;
	parent = bpf_map_lookup_elem(&sonde_slot_config, &container);
	parent_info = bpf_map_lookup_elem(&sonde_slot_info, &container);
	if (!parent || !parent_info || !globals)
		return container;
	slot = sonde_take_process_slot(globals);
	if (!slot) {
		sonde_lose(SONDE_LOSS_PROCESSES, 1);
		return container;
	}
	config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	info = bpf_map_lookup_elem(&sonde_slot_info, &slot);
	if (!config || !info) {
		sonde_return_process_slot(globals, slot);
		return container;
	}
	*config = *parent;
	config->per_process = 0;
	spans = bpf_map_lookup_elem(&sonde_span_config, &slot);
	parent_spans = bpf_map_lookup_elem(&sonde_span_config, &container);
	if (spans && parent_spans)
		*spans = *parent_spans;
	info->parent_id = parent_info->cgroup_id;
	info->created_ns = bpf_ktime_get_boot_ns();
	info->removed_ns = 0;
	info->kind = SONDE_KIND_INSIDE;
	info->tgid = key.tgid;
	leader = task->group_leader;
	bpf_probe_read_kernel(info->comm, sizeof(info->comm), leader->comm);
	info->cgroup_id = parent_info->cgroup_id;
	/* Two threads of a new process may race: the loser gives its slot back. */
	if (bpf_map_update_elem(&sonde_processes, &key, &slot, BPF_NOEXIST)) {
		info->cgroup_id = 0;
		info->tgid = 0;
		sonde_return_process_slot(globals, slot);
		found = bpf_map_lookup_elem(&sonde_processes, &key);
		if (found)
			return *found;
		sonde_lose(SONDE_LOSS_PROCESSES, 1);
		return container;
	}
	__sync_fetch_and_add(&globals->lifecycle, 1);
	return slot;
}

sonde_inline bool sonde_same_flags(const uint8_t *a, const uint8_t *b)
{
	uint64_t first[2], second[2];

	__builtin_memcpy(first, a, sizeof(first));
	__builtin_memcpy(second, b, sizeof(second));
	return first[0] == second[0] && first[1] == second[1];
}

/* Fills in slot and flags of a task whose storage is stale. `generation` must have been read before. */
sonde_slow int sonde_resolve(struct task_struct *task, struct sonde_task *state, uint32_t generation)
{
	struct sonde_slot_config *config;
	struct sonde_subject *subject;
	uint32_t slot = SONDE_SLOT_UNATTRIBUTED, before;
	uint64_t cgroup;

	if (!state)
		return 0;
	before = *(volatile uint32_t *)&state->generation;
	cgroup = sonde_cgroup_of(task);
	subject = bpf_map_lookup_elem(&sonde_subjects, &cgroup);
	if (subject)
		slot = subject->slot;
	config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	if (config && config->per_process && slot >= SONDE_FIRST_FREE_SLOT) {
		slot = sonde_process_slot(task, slot);
		config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	}
	if (state->slot != slot || (config && !sonde_same_flags(state->flags, config->flags)))
		state->calls_seen = 0; /* its calls may have begun unseen */
	if (config)
		__builtin_memcpy(state->flags, config->flags, sizeof(state->flags));
	state->slot = slot;
	/* The CPU that a task runs on and one that wakes it may both be here. If another answer came in between, neither
	 * holds: else an old slot could stay under a new generation. */
	if (__sync_val_compare_and_swap(&state->generation, before, generation) != before)
		*(volatile uint32_t *)&state->generation = 0;
	return 0;
}

/* The task's storage with slot and flags in force, or 0 (counted). */
sonde_inline struct sonde_task *sonde_task_of(struct task_struct *task)
{
	struct sonde_globals *globals = sonde_global();
	struct sonde_task *state;
	uint32_t generation;

	if (!globals)
		return 0;
	generation = *(volatile uint32_t *)&globals->generation;
	state = bpf_task_storage_get(&sonde_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!state) {
		sonde_lose(SONDE_LOSS_TASK_STORAGE, 1);
		return 0;
	}
	if (state->generation != generation)
		sonde_resolve(task, state, generation);
	return state;
}

/* Slow path of sonde_who: the context speaks of another task, or of an older generation. */
sonde_slow int sonde_who_slow(struct sonde_context *context, uint64_t regs)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state;

	if (!context)
		return 0;
	state = sonde_task_of(task);
	if (!state) {
		context->regs = 0;
		__builtin_memset(context->flags, 0, sizeof(context->flags));
		return 0;
	}
	if (context->regs != regs) { /* not only an older generation: take up what was saved when it left a CPU */
		context->start = state->start;
		context->operation = state->operation;
		state->start = 0;
		context->task = (uint64_t)task;
		context->regs = regs;
	}
	context->generation = *(volatile uint32_t *)&state->generation; /* first: rather too old than too new */
	context->slot = *(volatile uint32_t *)&state->slot;
	context->calls_seen = state->calls_seen;
	__builtin_memcpy(context->flags, state->flags, sizeof(context->flags));
	return 0;
}

/* The context of the task that makes a system call; never of another. 0 only if the map is missing. */
sonde_inline struct sonde_context *sonde_who(const void *regs)
{
	struct sonde_globals *globals = sonde_global();
	uint32_t zero = 0;
	struct sonde_context *context = bpf_map_lookup_elem(&sonde_contexts, &zero);

	if (!globals || !context)
		return 0;
	if (context->regs != (uint64_t)regs || context->generation != *(volatile uint32_t *)&globals->generation)
		sonde_who_slow(context, (uint64_t)regs);
	return context;
}

#endif
