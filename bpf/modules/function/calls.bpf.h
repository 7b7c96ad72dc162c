/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Begin and end of a call.
 *
 * A call in flight is known by whose stack it is on and where on it its frame begins: the stack pointer at the entry is
 * the same at the return, recursion has another one, and an exception or longjmp that leaves a frame behind leaves an
 * entry that the next call at that place overwrites. A thread's stack stays where it is. That of a goroutine moves as it
 * grows, and the goroutine from thread to thread: there it is the distance from the stack's upper end, which stays. */
#ifndef SONDE_FUNCTION_CALLS_H
#define SONDE_FUNCTION_CALLS_H

#include "function.h"
#include <sonde/span.h>
#include <sonde/who.h>

SONDE_CELL_ROWS(function);
SONDE_KEYED_HISTOGRAM_ROWS(function);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* one per slot, set before loading */
	__type(key, uint32_t);
	__type(value, struct function_asked);
} function_asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FUNCTION_INSTANCES);
	__type(key, uint32_t);
	__type(value, struct function_instance);
} function_instances SEC(".maps");

/* Entries seen, of all processes: user space checks whether one is hit too often. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FUNCTION_INSTANCES);
	__type(key, uint32_t);
	__type(value, uint64_t);
} function_hits SEC(".maps");

struct function_key {
	uint64_t owner; /* thread, or goroutine */
	uint64_t frame;
	uint32_t instance;
	uint32_t tgid;
};

struct function_call {
	uint64_t start;
	uint64_t slot;
};

/* The least recently used go first: calls that never return (longjmp, panics, killed threads) leave entries behind. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FUNCTION_IN_FLIGHT);
	__type(key, struct function_key);
	__type(value, struct function_call);
} function_in_flight SEC(".maps");

#if defined(__TARGET_ARCH_x86)
#define function_goroutine(ctx) ((ctx)->r14)
#define FUNCTION_RETURN_POPS 8 /* the return address is off the stack when a return probe runs */
#else
#define function_goroutine(ctx) (((const struct user_pt_regs *)(ctx))->regs[28])
#define FUNCTION_RETURN_POPS 0
#endif

/* As sonde_count_key(), but only calls may go to `other`: bytes and errors that found no cell are lost, and counted so. */
sonde_slow int function_count(uint32_t slot, uint32_t name, uint32_t counter, uint64_t n)
{
	struct sonde_cells *cells = bpf_map_lookup_elem(&function_cells, &slot);
	uint32_t i, wanted = FUNCTION_CELL(name, counter) + 1, seen;

	if (!cells)
		return 0;
	for (i = 0; i < SONDE_CELLS; i++) {
		seen = *(volatile uint32_t *)&cells->key[i];
		if (!seen)
			seen = __sync_val_compare_and_swap(&cells->key[i], 0, wanted);
		if (!seen || seen == wanted) {
			__sync_fetch_and_add(&cells->count[i], n);
			return 0;
		}
	}
	if (counter == FUNCTION_COUNT_CALLS)
		__sync_fetch_and_add(&cells->other, n);
	else
		sonde_lose(SONDE_LOSS_NO_ROW, 1);
	return 0;
}

/* The instance if this slot requests it. */
sonde_inline struct function_instance *function_wanted(struct sonde_task *state, uint32_t instance)
{
	uint32_t slot = state->slot;
	struct function_asked *asked = bpf_map_lookup_elem(&function_asked, &slot);

	instance &= FUNCTION_INSTANCES - 1;
	if (!asked || !(asked->word[instance / 64] >> (instance & 63) & 1))
		return 0;
	return bpf_map_lookup_elem(&function_instances, &instance);
}

/* How a program is called, a constant in each: with the registers of a function of C or Go, or with the arguments alone (fentry
 * and fexit). */
enum function_way { FUNCTION_OF_C, FUNCTION_OF_GO, FUNCTION_TRACED };

/* `pops`: bytes by which the stack pointer is above that of the entry. Arguments without registers stand on the stack of the
 * trampoline, and both programs of one call get that one address: so it is the frame. False if the goroutine's own
 * record cannot be read. */
sonde_inline bool function_key_of(void *ctx, enum function_way way, uint32_t pops, struct function_key *key)
{
	uint64_t sp, upper_end = 0;

	if (way == FUNCTION_TRACED) {
		key->frame = (uint64_t)ctx;
		return true;
	}
	sp = PT_REGS_SP((struct pt_regs *)ctx) - pops;
	key->frame = sp;
	if (way == FUNCTION_OF_C)
		return true;
	key->owner = function_goroutine((struct pt_regs *)ctx);
	if (bpf_probe_read_user(&upper_end, sizeof(upper_end), (void *)(key->owner + 8))) /* runtime.g.stack.hi */
		return false;
	key->frame = upper_end - sp;
	return true;
}

sonde_inline void function_count_bytes(uint64_t cookie, uint64_t value, long failed, uint32_t slot, uint32_t name)
{
	uint32_t shift = (64 - FUNCTION_COOKIE_BITS(cookie)) & 63;
	int64_t bytes;

	value <<= shift;
	bytes = FUNCTION_COOKIE_SIGNED(cookie) ? (int64_t)value >> shift : (int64_t)(value >> shift);
	if (failed || bytes < 0 || bytes > (int64_t)FUNCTION_MOST_BYTES) {
		sonde_lose(SONDE_LOSS_BAD_VALUE, 1);
		return;
	}
	if (bytes)
		function_count(slot, name, FUNCTION_COUNT_BYTES, bytes);
}

/* The value that the cookie says is a size, by the registers at the entry. */
sonde_inline long function_argument(struct pt_regs *ctx, uint64_t cookie, uint64_t *value)
{
	uint32_t place = FUNCTION_COOKIE_PLACE(cookie);
	long failed;

	if (place == FUNCTION_PLACE_CONSTANT) {
		*value = FUNCTION_COOKIE_DISPLACEMENT(cookie);
		return 0;
	}
	failed = bpf_probe_read_kernel(value, sizeof(*value), (void *)ctx + FUNCTION_COOKIE_REGISTER(cookie));
	if (!failed && place == FUNCTION_PLACE_MEMORY)
		failed = bpf_probe_read_user(value, sizeof(*value), (void *)(*value + FUNCTION_COOKIE_DISPLACEMENT(cookie)));
	return failed;
}

/* Of a hit: the instance, if the running task requests it, and its slot. Entries are counted for every task. */
sonde_inline struct function_instance *function_hit(uint64_t cookie, bool entry, struct function_key *key, uint32_t *slot)
{
	struct function_instance *what;
	struct sonde_task *state;
	uint64_t *hits;

	key->instance = FUNCTION_COOKIE_INSTANCE(cookie);
	hits = entry ? bpf_map_lookup_elem(&function_hits, &key->instance) : 0;
	if (hits)
		__sync_fetch_and_add(hits, 1);
	state = sonde_task_of(bpf_get_current_task_btf());
	if (!state || !state->flags[SONDE_MODULE_ID])
		return 0;
	*slot = state->slot;
	key->owner = bpf_get_current_pid_tgid();
	key->tgid = key->owner >> 32;
	what = function_wanted(state, key->instance);
	return what && what->edition == FUNCTION_COOKIE_EDITION(cookie) ? what : 0;
}

sonde_inline void function_put(struct function_key *key, uint32_t slot)
{
	struct function_call call = {};

	call.slot = slot;
	call.start = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&function_in_flight, key, &call, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
}

sonde_inline void function_begin(void *ctx, enum function_way way)
{
	uint64_t cookie = bpf_get_attach_cookie(ctx), value = 0;
	struct function_key key = {};
	uint32_t slot = 0;
	struct function_instance *what = function_hit(cookie, true, &key, &slot);
	long failed;

	if (!what)
		return;
	if (what->measure & FUNCTION_CALLS)
		function_count(slot, what->name, FUNCTION_COUNT_CALLS, 1);
	if (what->measure & FUNCTION_BYTES) {
		if (way == FUNCTION_TRACED)
			failed = bpf_get_func_arg(ctx, FUNCTION_COOKIE_ARGUMENT(cookie), &value);
		else
			failed = function_argument(ctx, cookie, &value);
		function_count_bytes(cookie, value, failed, slot, what->name);
	}
	if (!(what->measure & (FUNCTION_DURATION | FUNCTION_ERRORS)))
		return;
	if (function_key_of(ctx, way, 0, &key))
		function_put(&key, slot);
	else
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
}

sonde_inline bool function_failed(uint64_t value, uint32_t rule)
{
	int64_t number = (int64_t)value;
	uint32_t upper = value >> 32;

	if (rule == FUNCTION_ERROR_NULL)
		return !value;
	if (rule == FUNCTION_ERROR_NONZERO)
		return (uint32_t)value;
	if (!upper) /* an int: its upper half is not defined, and mostly zero */
		number = (int32_t)value;
	return number < 0 && number >= -4095;
}

/* Not global: with preemption disabled, Linux 6.12 refuses calls of global functions. */
sonde_slow int function_send_span(uint32_t slot, uint32_t name, uint64_t start, uint64_t end, int32_t error)
{
	struct sonde_span *span = sonde_span_begin(slot, SONDE_SPAN_FUNCTION, start, end, 0);

	if (!span)
		return 0;
	sonde_span_of(span, bpf_get_current_task_btf());
	span->error = error;
	span->detail = name;
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* The errno that a function returns as a negative number; a failure that is told otherwise has none. */
sonde_inline int32_t function_errno(uint64_t value, uint32_t rule)
{
	return rule == FUNCTION_ERROR_NEGATIVE ? -(int32_t)value : SONDE_SPAN_NO_ERRNO;
}

/* The end of the call with this key, if its begin was seen. */
sonde_inline void function_take(struct function_key *key, bool known, struct function_instance *what, uint32_t now_slot,
				uint64_t end, uint64_t returned)
{
	struct function_call *call = known ? bpf_map_lookup_elem(&function_in_flight, key) : 0;
	uint64_t start;
	uint32_t slot;
	bool failed;

	if (!call) {
		sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
		return;
	}
	slot = call->slot;
	start = call->start;
	bpf_map_delete_elem(&function_in_flight, key);
	if (slot != now_slot) { /* the task moved meanwhile, or the slot has another owner */
		sonde_lose(SONDE_LOSS_MOVED, 1);
		return;
	}
	if (what->measure & FUNCTION_DURATION)
		sonde_observe_key(&function_keyed, slot, what->name, end - start);
	failed = (what->measure & FUNCTION_ERRORS) && function_failed(returned, what->error);
	if (failed)
		function_count(slot, what->name, FUNCTION_COUNT_ERRORS, 1);
	if ((what->measure & FUNCTION_DURATION) && sonde_span_due(slot, SONDE_SPAN_FUNCTION, end - start, failed))
		function_send_span(slot, what->name, start, end, failed ? function_errno(returned, what->error) : 0);
}

sonde_inline void function_end(void *ctx, enum function_way way, uint32_t pops)
{
	uint64_t end = bpf_ktime_get_ns(), cookie = bpf_get_attach_cookie(ctx), returned = 0;
	struct function_key key = {};
	uint32_t slot = 0;
	struct function_instance *what = function_hit(cookie, false, &key, &slot);
	bool known;

	if (!what)
		return;
	known = function_key_of(ctx, way, pops, &key);
	if (way == FUNCTION_TRACED)
		bpf_get_func_ret(ctx, &returned);
	else
		returned = PT_REGS_RC((struct pt_regs *)ctx);
	function_take(&key, known, what, slot, end, returned);
}

#endif
