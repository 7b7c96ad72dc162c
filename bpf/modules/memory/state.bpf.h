/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the memory probe notes of a task, in its scratch: begin of the fault that it is in, to 4 ns (upper 62 bits), and
 * how it reclaimed last (2 bits). A fault may reclaim. */
#ifndef SONDE_MEMORY_STATE_H
#define SONDE_MEMORY_STATE_H

#include "memory.h"

#include <sonde/answers.h>
#include <sonde/rows.h>
#include <sonde/who.h>

SONDE_ANSWERS(memory);

/* Set before loading. */
const volatile uint32_t memory_page_shift = 12;

#define memory_bytes(pages) ((uint64_t)(pages) << memory_page_shift)
#define MEMORY_LAST_RECLAIM 3ULL

/* The running task's state if one of these is asked of it, else 0. */
sonde_inline struct sonde_task *memory_measured(uint8_t flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = sonde_may_ask(&memory_answers, task, flags) ? sonde_task_of(task) : 0;

	return state && (state->flags[SONDE_MODULE_ID] & flags) ? state : 0;
}

sonde_inline uint64_t memory_fault_start(struct sonde_task *state)
{
	return state->memory.fault_and_reclaim & ~MEMORY_LAST_RECLAIM;
}

sonde_inline void memory_set_fault(struct sonde_task *state, uint64_t start)
{
	uint64_t *pending = &state->memory.fault_and_reclaim;

	*pending = (start & ~MEMORY_LAST_RECLAIM) | (*pending & MEMORY_LAST_RECLAIM);
}

/* enum memory_reclaimer + 1; 0: never. */
sonde_inline uint32_t memory_last_reclaim(struct sonde_task *state)
{
	return state->memory.fault_and_reclaim & MEMORY_LAST_RECLAIM;
}

sonde_inline void memory_set_reclaim(struct sonde_task *state, uint32_t reclaimer)
{
	uint64_t *pending = &state->memory.fault_and_reclaim;

	*pending = (*pending & ~MEMORY_LAST_RECLAIM) | (reclaimer + 1);
}

#endif
