/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Page faults, by the kernel's own software events: one at the begin of each fault of a program or on its behalf, one
 * of two when it has been dealt with. They are the same on every architecture. */
#ifndef SONDE_MEMORY_FAULTS_H
#define SONDE_MEMORY_FAULTS_H

#include "state.h"

SEC("perf_event")
int memory_fault(void *ctx)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_FAULT_TIME);

	if (state)
		memory_set_fault(state, bpf_ktime_get_ns());
	return 0;
}

sonde_inline int memory_faulted(uint8_t flag, uint32_t counter, uint32_t histogram)
{
	struct sonde_task *state = memory_measured(flag | MEMORY_FLAG_FAULT_TIME);
	uint64_t start;
	uint8_t flags;

	if (!state)
		return 0;
	flags = state->flags[SONDE_MODULE_ID];
	if (flags & flag)
		sonde_count(&memory_counters, state->slot, counter, 1);
	if (!(flags & MEMORY_FLAG_FAULT_TIME))
		return 0;
	start = memory_fault_start(state);
	memory_set_fault(state, 0);
	if (start)
		sonde_observe(&memory_histograms, state->slot, histogram, bpf_ktime_get_ns() - start);
	else
		sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
	return 0;
}

SEC("perf_event")
int memory_fault_major(void *ctx)
{
	return memory_faulted(MEMORY_FLAG_MAJOR, MEMORY_MAJOR, MEMORY_MAJOR_TIME);
}

SEC("perf_event")
int memory_fault_minor(void *ctx)
{
	return memory_faulted(MEMORY_FLAG_MINOR, MEMORY_MINOR, MEMORY_MINOR_TIME);
}

#endif
