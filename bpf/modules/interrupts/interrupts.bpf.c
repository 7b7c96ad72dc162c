// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Time that interrupts take and how many there are. Each CPU adds up for itself, at some ns an interrupt; a collection brings
 * the sums into the node's row. A sum is written by the hooks of its CPU only, how much of it was taken by the collection only,
 * so that either may interrupt the other.
 * Hard interrupts are told apart by the name of their first handler without the digits at its end (nvme0q1, nvme0q2: one),
 * the first so many names; the rest is `other`. */
#include "interrupts.h"

#include <sonde/rows.h>

SONDE_LICENSE;
SONDE_ROWS(interrupts, INTERRUPTS_COUNTERS, 1); /* no histogram, but a row has at least one entry */
SONDE_CELL_ROWS(interrupts);

#define HARD_NAMES (SONDE_CELLS / 2 - 1) /* a name has two cells, time and number; one pair is for the others */
#define HARD_NUMBERS 1024

struct interrupts_sum {
	uint64_t count;
	uint64_t ns;
	uint64_t taken_count; /* what is in the node's row already */
	uint64_t taken_ns;
};

struct interrupts_cpu {
	uint64_t hard_start; /* CLOCK_MONOTONIC ns; 0: in none */
	uint64_t soft_start;
	uint64_t hard_ns;         /* of all hard interrupts on this CPU */
	uint64_t hard_ns_before;  /* the same when the soft interrupt began that they may interrupt */
	char name[16]; /* of the one that is looked for; not on the stack, where the verifier would follow each character */
	struct interrupts_sum hard[HARD_NAMES + 1];
	struct interrupts_sum soft[INTERRUPTS_SOFT];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct interrupts_cpu);
} interrupts_cpus SEC(".maps");

/* By place. `claimed`: number + 1 of the interrupt that brought the name. */
struct interrupts_name {
	char text[16];
	uint32_t claimed;
	uint32_t reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HARD_NAMES);
	__type(key, uint32_t);
	__type(value, struct interrupts_name);
} interrupts_names SEC(".maps");

/* By number of the interrupt: its place + 1; 0: not met yet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HARD_NUMBERS);
	__type(key, uint32_t);
	__type(value, uint32_t);
} interrupts_places SEC(".maps");

/* Finds or makes the place of a name. Two CPUs may bring one at a time: it has two places then, which user space joins. */
sonde_slow uint32_t place_of_name(struct interrupts_cpu *here, uint32_t number, struct irqaction *action)
{
	struct interrupts_name *name;
	uint64_t first, second;
	uint32_t place;
	int i;

	if (!here || !action)
		return HARD_NAMES;
	__builtin_memset(here->name, 0, sizeof(here->name));
	bpf_probe_read_kernel_str(here->name, sizeof(here->name), action->name);
	for (i = sizeof(here->name) - 1; i > 0; i--) {
		if (!here->name[i])
			continue;
		if (here->name[i] < '0' || here->name[i] > '9')
			break;
		here->name[i] = 0;
	}
	first = *(uint64_t *)here->name;
	second = *(uint64_t *)(here->name + 8);
	for (place = 0; place < HARD_NAMES; place++) {
		uint32_t key = place;

		name = bpf_map_lookup_elem(&interrupts_names, &key);
		if (!name)
			break;
		if (!__sync_val_compare_and_swap(&name->claimed, 0, number + 1)) {
			*(uint64_t *)name->text = first;
			*(uint64_t *)(name->text + 8) = second;
			return place;
		}
		if (*(uint64_t *)name->text == first && *(uint64_t *)(name->text + 8) == second)
			return place;
	}
	return HARD_NAMES;
}

sonde_inline uint32_t place_of(struct interrupts_cpu *here, uint32_t number, struct irqaction *action)
{
	uint32_t *place = bpf_map_lookup_elem(&interrupts_places, &number);

	if (!place)
		return HARD_NAMES;
	if (!*place)
		*place = place_of_name(here, number, action) + 1;
	return *place - 1;
}

sonde_inline struct interrupts_cpu *interrupts_here(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&interrupts_cpus, &zero);
}

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(interrupts_hard_entry, int number, struct irqaction *action)
{
	struct interrupts_cpu *here = interrupts_here();

	if (here)
		here->hard_start = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(interrupts_hard_exit, int number, struct irqaction *action)
{
	struct interrupts_cpu *here = interrupts_here();
	uint32_t place;
	uint64_t ns;

	if (!here || !here->hard_start)
		return 0;
	ns = bpf_ktime_get_ns() - here->hard_start;
	here->hard_start = 0;
	here->hard_ns += ns;
	place = place_of(here, number, action);
	if (place <= HARD_NAMES) {
		here->hard[place].count++;
		here->hard[place].ns += ns;
	}
	return 0;
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(interrupts_soft_entry, unsigned int vector)
{
	struct interrupts_cpu *here = interrupts_here();

	if (here) {
		here->soft_start = bpf_ktime_get_ns();
		here->hard_ns_before = here->hard_ns;
	}
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(interrupts_soft_exit, unsigned int vector)
{
	struct interrupts_cpu *here = interrupts_here();
	uint64_t ns, hard;

	if (!here || !here->soft_start || vector >= INTERRUPTS_SOFT)
		return 0;
	ns = bpf_ktime_get_ns() - here->soft_start;
	hard = here->hard_ns - here->hard_ns_before; /* it was interrupted itself */
	here->soft_start = 0;
	here->soft[vector].count++;
	here->soft[vector].ns += ns > hard ? ns - hard : 0;
	return 0;
}

/* What came since the last collection. */
sonde_inline struct interrupts_sum take(struct interrupts_sum *sum)
{
	struct interrupts_sum now = {.count = *(volatile uint64_t *)&sum->count, .ns = *(volatile uint64_t *)&sum->ns};
	struct interrupts_sum new = {.count = now.count - sum->taken_count, .ns = now.ns - sum->taken_ns};

	sum->taken_count = now.count;
	sum->taken_ns = now.ns;
	return new;
}

sonde_inline void take_hard(struct interrupts_sum *sum, uint32_t place)
{
	uint32_t number = INTERRUPTS_OTHER, key = place;
	struct interrupts_sum new = take(sum);
	struct interrupts_name *name;

	if (!new.count)
		return;
	if (place < HARD_NAMES) {
		name = bpf_map_lookup_elem(&interrupts_names, &key);
		if (name)
			number = name->claimed - 1;
	}
	sonde_count_key(&interrupts_cells, SONDE_SLOT_NODE, number << 1, new.count);
	sonde_count_key(&interrupts_cells, SONDE_SLOT_NODE, number << 1 | 1, new.ns);
}

/* Never attached: user space runs it on every CPU before a collection. */
SEC("raw_tp")
int interrupts_flush(void *ctx)
{
	struct interrupts_cpu *here = interrupts_here();
	uint32_t slot = SONDE_SLOT_NODE, i;
	struct interrupts_sum new;
	uint64_t *row;

	row = bpf_map_lookup_elem(&interrupts_counters, &slot);
	if (!here || !row)
		return 0;
	for (i = 0; i <= HARD_NAMES; i++)
		take_hard(&here->hard[i], i);
	for (i = 0; i < INTERRUPTS_SOFT; i++) {
		new = take(&here->soft[i]);
		if (!new.count)
			continue;
		__sync_fetch_and_add(&row[INTERRUPTS_SOFT_COUNT + i], new.count);
		__sync_fetch_and_add(&row[INTERRUPTS_SOFT_TIME + i], new.ns);
	}
	return 0;
}
