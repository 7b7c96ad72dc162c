// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The core object: owns the shared maps and keeps "who is running" true. It counts nothing itself. */
#include <sonde/cgroup_name.h>
#include <sonde/who.h>

SONDE_LICENSE;

const volatile bool sonde_have_cast = false;

/* The name of the directory that is being made. One is enough: the kernel makes one cgroup at a time (cgroup_mutex). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, char[SONDE_NAME_SIZE]);
} core_name SEC(".maps");

sonde_inline void announce(struct sonde_globals *globals)
{
	uint64_t *ring;

	__sync_fetch_and_add(&globals->lifecycle, 1);
	ring = bpf_ringbuf_reserve(&sonde_doorbell, sizeof(*ring), 0);
	if (ring) {
		*ring = 0;
		bpf_ringbuf_submit(ring, 0);
	}
}

sonde_inline int is_podman_parent(struct cgroup *parent)
{
	char name[16] = {}; /* longer than that name: one that only begins like it has another length */
	uint32_t i, different = 0;
	long size = bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(parent, kn, name));

	for (i = 0; i < sizeof(SONDE_PODMAN_PARENT); i++)
		different |= name[i] ^ SONDE_PODMAN_PARENT[i];
	return size == sizeof(SONDE_PODMAN_PARENT) && !different;
}

/* A directory below one we know gets its entry here, before any process can be in it: nothing of it is lost. Its name
 * comes from the kernel's own object: the tracepoint's path ends at 1,024 bytes. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(core_cgroup_mkdir, struct cgroup *cgroup)
{
	struct sonde_subject entry = {}, *parent;
	struct sonde_slot_config *config;
	struct sonde_globals *globals = sonde_global();
	struct sonde_slot_info *info;
	uint64_t id, parent_id;
	uint32_t slot, zero = 0, says;
	long size;
	char *name = bpf_map_lookup_elem(&core_name, &zero);

	if (!globals || !name || cgroup->root->hierarchy_id != 0) /* 0: the v2 tree; v1 trees have ids of their own */
		return 0;
	id = cgroup->kn->id;
	parent_id = BPF_CORE_READ(cgroup, self.parent, cgroup, kn, id);
	parent = bpf_map_lookup_elem(&sonde_subjects, &parent_id);
	if (!parent)
		return 0; /* outside what the agent watches */
	size = bpf_probe_read_kernel_str(name, SONDE_NAME_SIZE, cgroup->kn->name);
	if (size < 1) /* not to be read: it has no name then, and user space looks for it by its id */
		size = 1;
	says = sonde_name_says(name, size - 1, is_podman_parent(BPF_CORE_READ(cgroup, self.parent, cgroup)));
	/* A pod is a pod at any depth: where a node runs in a container (kind), its pods are not that container's work. */
	if (parent->kind != SONDE_KIND_TREE && !(says & SONDE_NAME_POD)) {
		entry.slot = parent->slot;
		entry.kind = SONDE_KIND_INSIDE;
		if (bpf_map_update_elem(&sonde_subjects, &id, &entry, BPF_ANY))
			sonde_lose(SONDE_LOSS_NO_SLOT, 1);
		return 0;
	}
	if (bpf_map_pop_elem(&sonde_free_slots, &slot)) {
		sonde_lose(SONDE_LOSS_NO_SLOT, 1);
		__sync_fetch_and_add(&globals->lifecycle, 1);
		return 0;
	}
	info = bpf_map_lookup_elem(&sonde_slot_info, &slot);
	config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	if (!info || !config) {
		bpf_map_push_elem(&sonde_free_slots, &slot, 0);
		return 0;
	}
	__builtin_memcpy(info->name, name, sizeof(info->name));
	info->parent_id = parent_id;
	info->created_ns = bpf_ktime_get_boot_ns();
	info->removed_ns = 0;
	info->tgid = 0;
	info->kind = says & SONDE_NAME_CONTAINER ? SONDE_KIND_CONTAINER : SONDE_KIND_TREE;
	__builtin_memcpy(config->flags, globals->provisional, sizeof(config->flags));
	__builtin_memset(config->sample, 0, sizeof(config->sample));
	config->per_process = 0;
	info->cgroup_id = id;
	entry.slot = slot;
	entry.kind = info->kind;
	if (bpf_map_update_elem(&sonde_subjects, &id, &entry, BPF_ANY)) { /* the table of cgroups is full */
		info->cgroup_id = 0;
		bpf_map_push_elem(&sonde_free_slots, &slot, 0);
		sonde_lose(SONDE_LOSS_NO_SLOT, 1);
	}
	announce(globals);
	return 0;
}

/* No process is left in it (zombies aside, whose storage knows the slot), so this is its end. */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(core_cgroup_rmdir, struct cgroup *cgroup)
{
	struct sonde_globals *globals = sonde_global();
	struct sonde_slot_info *info;
	struct sonde_subject *entry;
	uint64_t id;
	uint32_t slot;

	if (!globals || cgroup->root->hierarchy_id != 0)
		return 0;
	id = cgroup->kn->id;
	entry = bpf_map_lookup_elem(&sonde_subjects, &id);
	if (!entry)
		return 0;
	slot = entry->slot;
	if (entry->kind == SONDE_KIND_INSIDE) {
		bpf_map_delete_elem(&sonde_subjects, &id);
		return 0;
	}
	info = bpf_map_lookup_elem(&sonde_slot_info, &slot);
	if (info && info->cgroup_id == id) {
		info->removed_ns = bpf_ktime_get_boot_ns();
		announce(globals);
	} else {
		bpf_map_delete_elem(&sonde_subjects, &id); /* an ignored one: it has no slot of its own */
	}
	return 0;
}

/* A task moved: all cached answers become stale. Moves are rare compared to lookups. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(core_cgroup_attach_task, struct cgroup *destination)
{
	struct sonde_globals *globals = sonde_global();

	if (globals && destination->root->hierarchy_id == 0)
		__sync_fetch_and_add(&globals->generation, 1);
	return 0;
}

/* A task that leaves the CPU inside a system call takes its start time along. */
SEC("tp_btf/sched_switch")
int BPF_PROG(core_sched_switch, bool preempt, struct task_struct *previous)
{
	uint32_t zero = 0;
	struct sonde_context *context = bpf_map_lookup_elem(&sonde_contexts, &zero);
	struct sonde_task *state;

	if (!context || !context->regs)
		return 0;
	if (context->start && context->task == (uint64_t)previous) {
		state = bpf_task_storage_get(&sonde_tasks, previous, 0, 0);
		if (state) {
			state->operation = context->operation;
			state->start = context->start;
		} else {
			sonde_lose(SONDE_LOSS_TASK_STORAGE, 1);
		}
	}
	context->regs = 0;
	context->start = 0;
	return 0;
}

/* Only attached while a policy asks for processes: the process runs another program from now on. Its name is that of
 * the program, so it is read here and at its first event; a thread that calls itself otherwise changes nothing. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(core_process_exec, struct task_struct *task)
{
	struct sonde_globals *globals = sonde_global();
	struct sonde_slot_info *info;
	struct sonde_task *state;
	uint32_t slot;

	if (!globals)
		return 0;
	state = sonde_task_of(task);
	if (!state)
		return 0;
	slot = state->slot;
	info = bpf_map_lookup_elem(&sonde_slot_info, &slot);
	if (info && info->tgid == (uint32_t)task->tgid && !info->removed_ns) {
		bpf_probe_read_kernel(info->comm, sizeof(info->comm), task->comm);
		announce(globals);
	}
	return 0;
}

/* Only attached while a policy asks for processes: the last thread of a process with a slot of its own has gone. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(core_process_exit, struct task_struct *task)
{
	struct sonde_globals *globals = sonde_global();
	struct sonde_slot_info *info;
	struct sonde_task *state;
	uint32_t slot;

	if (!globals || task->signal->live.counter != 0)
		return 0;
	state = sonde_task_of(task); /* another thread may have been given the slot since this one was looked up */
	if (!state)
		return 0;
	slot = state->slot;
	info = bpf_map_lookup_elem(&sonde_slot_info, &slot);
	if (info && info->tgid == (uint32_t)task->tgid && !info->removed_ns) {
		info->removed_ns = bpf_ktime_get_boot_ns();
		announce(globals);
	}
	return 0;
}
