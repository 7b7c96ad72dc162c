// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The cpu_pmu probe. Each CPU counts hardware events all the time; at a context switch what they rose by since the last one
 * is charged to the subject of the task that leaves. Counters that share the hardware count part of the time: what they
 * would have counted is estimated from the kernel's own enabled and running times. */
#include "cpu_pmu.h"

#include <sonde/rows.h>
#include <sonde/who.h>

SONDE_LICENSE;

SONDE_ROWS(cpu_pmu, CPU_PMU_EVENTS, 1); /* it has no histogram, but a row has one place at least */

/* Events by CPU: event * cpu_pmu_cpus + CPU. Filled by user space, which sets the size and the number of CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(uint32_t));
	__uint(value_size, sizeof(uint32_t));
	__uint(max_entries, CPU_PMU_EVENTS);
} cpu_pmu_perf SEC(".maps");

const volatile uint32_t cpu_pmu_cpus = 1;

/* What a CPU's counters said the last time, and which task has run there since. */
struct cpu_pmu_last {
	uint64_t task; /* its task_struct; 0: not known */
	uint64_t flags; /* whose events were read */
	struct bpf_perf_event_value value[CPU_PMU_EVENTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct cpu_pmu_last);
} cpu_pmu_lasts SEC(".maps");

/* Events of a CPU that did not run when they were last read, by bits: it was offline in between, or when they were opened. User
 * space reopens them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, uint64_t);
} cpu_pmu_still SEC(".maps");

sonde_slow int note_still(struct cpu_pmu_last *last, uint32_t event, uint32_t lost)
{
	uint32_t zero = 0;
	uint64_t *still = bpf_map_lookup_elem(&cpu_pmu_still, &zero);

	if (!last)
		return 0;
	last->flags &= ~(1ULL << event); /* what it stood at is not known any more */
	if (still)
		*still |= 1ULL << event;
	if (lost)
		sonde_lose(SONDE_LOSS_UNMEASURED, 1);
	return 0;
}

/* What the event would have counted, had it had the hardware to itself. `seen`: what it counted in `running` of `enabled`
 * ns. Never more than 2^20 times as much, so nothing overflows below 2^44 events between two switches. */
sonde_inline uint64_t scaled(uint64_t seen, uint64_t enabled, uint64_t running)
{
	uint64_t ratio;

	if (running >= enabled)
		return seen;
	ratio = (enabled << 10) / running;
	if (ratio > 1 << 20)
		ratio = 1 << 20;
	return (seen * ratio) >> 10;
}

/* Reads one event; returns what it rose by, 0 if that cannot be said. */
sonde_slow uint64_t read_event(struct cpu_pmu_last *last, uint32_t event, uint32_t charge)
{
	struct bpf_perf_event_value now, *before;
	uint64_t seen, enabled, running;
	long error;

	if (!last || event >= CPU_PMU_EVENTS)
		return 0;
	error = bpf_perf_event_read_value(&cpu_pmu_perf, event * cpu_pmu_cpus + bpf_get_smp_processor_id(), &now, sizeof(now));
	if (error) {
		/* ENOENT: the hardware does not have it, which is in status; or the CPU was offline when it was opened */
		note_still(last, event, charge && error != -2);
		return 0;
	}
	before = &last->value[event];
	/* The time for which it is enabled goes on, unless it ended with its CPU. */
	if (charge && now.enabled <= before->enabled) {
		note_still(last, event, 1);
		return 0;
	}
	seen = now.counter - before->counter;
	enabled = now.enabled - before->enabled;
	running = now.running - before->running;
	*before = now;
	if (!charge)
		return 0;
	if (!running) { /* the hardware was never its own meanwhile */
		if (enabled)
			sonde_lose(SONDE_LOSS_UNMEASURED, 1);
		return 0;
	}
	return scaled(seen, enabled, running);
}

/* Charges what they rose by to the subject of `task`, which has run here, and notes how they stand for `next`. */
sonde_slow int account(struct task_struct *task, struct task_struct *next)
{
	struct sonde_task *state = 0, *next_state = 0;
	struct cpu_pmu_last *last;
	uint32_t zero = 0, slot = 0, asked = 0, wanted = 0, known, event;
	uint64_t *row, rose;

	if (!task || !next)
		return 0;
	if (task->pid) {
		state = sonde_task_of(task);
		if (state) {
			asked = state->flags[SONDE_MODULE_ID];
			slot = state->slot;
		}
	}
	if (next->pid) {
		next_state = next == task ? state : sonde_task_of(next);
		if (next_state)
			wanted = next_state->flags[SONDE_MODULE_ID];
	}
	last = bpf_map_lookup_elem(&cpu_pmu_lasts, &zero);
	if (!last)
		return 0;
	if (!(asked | wanted)) {
		last->task = 0;
		return 0;
	}
	/* If its arrival was not seen, or it was not asked then, what the counters stood at then is not known. */
	known = last->task == (uint64_t)task ? (uint32_t)last->flags & asked : 0;
	if (asked & ~known)
		sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
	last->task = (uint64_t)next;
	last->flags = wanted;
	row = bpf_map_lookup_elem(&cpu_pmu_counters, &slot);
	for (event = 0; event < CPU_PMU_EVENTS; event++) {
		if (!((known | wanted) & (1U << event)))
			continue;
		rose = read_event(last, event, known & (1U << event));
		if (rose && row)
			__sync_fetch_and_add(&row[event], rose);
	}
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(cpu_pmu_switch, bool preempt, struct task_struct *previous, struct task_struct *next)
{
	return account(previous, next);
}

/* Never attached. On every CPU, by interrupt, before a collection: a task that does not leave its CPU is charged up to now. */
SEC("raw_tp")
int cpu_pmu_flush(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return account(task, task);
}
