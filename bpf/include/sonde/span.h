/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a module tells of a single operation that took long, or failed.
 *
 *   if (sonde_span_due(slot, SONDE_SPAN_FSYNC, ns, result < 0))    where its end is counted: a look-up and a compare
 *           io_send_span(…);                                       the module's own, out of line:
 *
 *   struct sonde_span *span = sonde_span_begin(slot, SONDE_SPAN_FSYNC, start, end, error);
 *   if (span) {
 *           sonde_span_of(span, bpf_get_current_task_btf());
 *           …what only this kind of operation has…
 *           bpf_ringbuf_submit(span, 0);
 *   }
 *
 * The ring takes a spinning lock: not where a spinning lock is waited for or a run queue is locked. A function that sends is
 * global, so that the verifier looks at it once, unless it is called with preemption disabled. */
#ifndef SONDE_SPAN_H
#define SONDE_SPAN_H

#include <sonde/rows.h>

#define ERESTARTSYS 512 /* include/linux/errno.h: up to 516, what a signal makes of a call before user space sees it */
#define ERESTART_LAST 516
#define EINTR 4
#define MAX_ERRNO 4095

/* The compiler must not know more of an index than the verifier of older kernels can follow. */
#define SONDE_SPAN_IN_RANGE(operation) ({ barrier_var(operation); (operation) < SONDE_SPAN_OPERATIONS; })

/* In microseconds; 0: spans of this operation are not requested. */
sonde_inline uint32_t sonde_span_threshold(uint32_t slot, uint64_t operation)
{
	struct sonde_span_config *config = bpf_map_lookup_elem(&sonde_span_config, &slot);

	return config && SONDE_SPAN_IN_RANGE(operation) ? config->threshold_us[operation] : 0;
}

/* Does an operation that took so long qualify? A failure may at any duration. */
sonde_inline bool sonde_span_due(uint32_t slot, uint64_t operation, uint64_t ns, bool failed)
{
	struct sonde_span_config *config = bpf_map_lookup_elem(&sonde_span_config, &slot);
	uint32_t threshold;

	if (!config || !SONDE_SPAN_IN_RANGE(operation))
		return false;
	threshold = config->threshold_us[operation];
	if (!threshold)
		return false;
	return ns >= threshold * 1000ULL || (failed && config->errors >> operation & 1);
}

sonde_inline bool sonde_span_take_token(struct sonde_span_budget *budget)
{
	if (__sync_fetch_and_add(&budget->tokens, -1) > 0)
		return true;
	__sync_fetch_and_add(&budget->tokens, 1);
	return false;
}

/* A token of the slot and one of the node, or none. */
sonde_inline bool sonde_span_may_send(struct sonde_span_budget *budget)
{
	uint32_t slot = SONDE_SLOT_NODE;
	struct sonde_span_budget *node = bpf_map_lookup_elem(&sonde_span_budgets, &slot);

	if (!node || !sonde_span_take_token(budget))
		return false;
	if (sonde_span_take_token(node))
		return true;
	__sync_fetch_and_add(&budget->tokens, 1);
	return false;
}

/* As a program sees it: 0 for what is none. */
sonde_inline int32_t sonde_span_error(int64_t error)
{
	if (error >= ERESTARTSYS && error <= ERESTART_LAST)
		return EINTR;
	return error > 0 && error <= MAX_ERRNO ? error : 0;
}

/* A record with what every operation has, to be submitted; 0 if it is not to be sent, which is counted. `error`: an errno, 0
 * if it succeeded. */
sonde_inline struct sonde_span *sonde_span_begin(uint32_t slot, uint64_t operation, uint64_t start, uint64_t end,
						 int64_t error)
{
	struct sonde_span_budget *budget = bpf_map_lookup_elem(&sonde_span_budgets, &slot);
	struct sonde_span *span;

	if (!budget || !SONDE_SPAN_IN_RANGE(operation))
		return 0;
	if (operation != SONDE_SPAN_OOM_KILL && !sonde_span_may_send(budget)) {
		__sync_fetch_and_add(&budget->suppressed[operation], 1);
		return 0;
	}
	span = bpf_ringbuf_reserve(&sonde_spans, sizeof(*span), 0);
	if (!span) {
		sonde_lose(SONDE_LOSS_SPAN, 1);
		return 0;
	}
	__builtin_memset(span, 0, sizeof(*span));
	span->start_ns = start;
	span->end_ns = end;
	span->slot = slot;
	span->operation = operation;
	span->error = sonde_span_error(error);
	span->threshold_us = sonde_span_threshold(slot, operation);
	span->suppressed = __sync_lock_test_and_set(&budget->suppressed[operation], 0);
	return span;
}

/* The thread that did it. */
sonde_inline void sonde_span_of(struct sonde_span *span, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	span->tgid = task->tgid;
	span->tid = task->pid;
	bpf_probe_read_kernel(span->comm, sizeof(span->comm), task->comm);
	bpf_probe_read_kernel(span->leader_comm, sizeof(span->leader_comm), leader->comm);
}

#endif
