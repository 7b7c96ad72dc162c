/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads by the kernel's workers for io_uring. Any of a process's workers may ask for what another has brought in, and in
 * any order: so which pages are not asked for yet is kept by process, one bit for each. */
#ifndef SONDE_CACHE_WORKERS_H
#define SONDE_CACHE_WORKERS_H

#include "streams.h"

#define PF_IO_WORKER 0x10 /* include/linux/sched.h */
#define CACHE_WORDS 16    /* of one read: 1,024 pages; behind them all are taken for asked before */

struct cache_fresh_key {
	struct cache_stream_key of; /* the process: its first thread */
	uint64_t word;              /* page / 64 */
};

/* Least recently used, as streams. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct cache_fresh_key);
	__type(value, uint64_t);
} cache_fresh SEC(".maps");

sonde_inline bool cache_is_worker(struct task_struct *task)
{
	return task->flags & PF_IO_WORKER;
}

sonde_inline bool cache_has_workers(struct task_struct *task)
{
	return bpf_core_field_exists(task->io_uring) && task->io_uring;
}

sonde_inline struct cache_fresh_key cache_fresh_key_of(struct address_space *mapping, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct cache_fresh_key key = {.of = cache_key(mapping, leader)};

	return key;
}

/* Bits first..last of a word. */
sonde_inline uint64_t cache_mask(uint64_t first, uint64_t last)
{
	return (~0ULL << (first & 63)) & (~0ULL >> (63 - (last & 63)));
}

sonde_inline uint32_t cache_bits(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + (word >> 2 & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return word * 0x0101010101010101ULL >> 56;
}

/* Place of the highest bit of a word that is not 0. */
sonde_inline uint32_t cache_highest(uint64_t word)
{
	word |= word >> 1;
	word |= word >> 2;
	word |= word >> 4;
	word |= word >> 8;
	word |= word >> 16;
	word |= word >> 32;
	return cache_bits(word) - 1;
}

/* Pages first..last were brought in by a worker. */
sonde_slow int cache_worker_brought(struct address_space *mapping, struct task_struct *task, uint64_t first, uint64_t last)
{
	struct cache_fresh_key key;
	uint64_t *found, mask, end;
	uint32_t i;

	if (!mapping || !task)
		return 0;
	key = cache_fresh_key_of(mapping, task);
	for (i = 0; i < CACHE_WORDS && first <= last; i++, first = end + 1) {
		end = first | 63;
		if (end > last)
			end = last;
		mask = cache_mask(first, end);
		key.word = first >> 6;
		found = bpf_map_lookup_elem(&cache_fresh, &key);
		if (found)
			__sync_fetch_and_or(found, mask);
		else if (bpf_map_update_elem(&cache_fresh, &key, &mask, BPF_ANY))
			sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	}
	return 0;
}

struct cache_taken {
	uint64_t pages; /* that workers had brought in and nobody had asked for yet */
	uint64_t last;  /* the last of them */
};

sonde_slow int cache_take_fresh(struct address_space *mapping, struct task_struct *task, struct cache_range *range,
				struct cache_taken *taken)
{
	struct cache_fresh_key key;
	uint64_t *found, mask, first, last, end;
	uint32_t i;

	if (!mapping || !task || !range || !taken)
		return 0;
	taken->pages = 0;
	first = range->from;
	last = range->to - 1;
	key = cache_fresh_key_of(mapping, task);
	for (i = 0; i < CACHE_WORDS && first <= last; i++, first = end + 1) {
		end = first | 63;
		if (end > last)
			end = last;
		mask = cache_mask(first, end);
		key.word = first >> 6;
		found = bpf_map_lookup_elem(&cache_fresh, &key);
		if (!found || !(*found & mask))
			continue;
		mask &= __sync_fetch_and_and(found, ~mask);
		if (!mask)
			continue;
		taken->pages += cache_bits(mask);
		taken->last = (first & ~63ULL) + cache_highest(mask);
	}
	return 0;
}

/* A thread that has workers asks itself: the first page of the range behind those that they have brought in for it. */
sonde_inline uint64_t cache_behind_fresh(struct address_space *mapping, struct task_struct *task, uint64_t first,
					 uint64_t last)
{
	struct cache_range range = {.from = first, .to = last + 1};
	struct cache_taken taken = {};

	cache_take_fresh(mapping, task, &range, &taken);
	return taken.pages ? taken.last + 1 : first;
}

/* As cache_read(), for a worker. If pages just brought in are among those that are asked for, what comes behind them is not
 * known yet: the read asks again for the rest. */
sonde_inline int cache_worker_read(struct sonde_task *state, struct task_struct *task, struct address_space *mapping,
				   uint64_t first, uint64_t last)
{
	uint64_t size = mapping->host->i_size, before = state->pending[SONDE_MODULE_ID], now;
	struct cache_range range = {.from = first};
	struct cache_taken taken = {};

	if (size && last > (size - 1) >> cache_page_shift)
		last = (size - 1) >> cache_page_shift;
	if (last < first)
		return 0;
	range.to = last + 1;
	now = cache_request(CACHE_READ, mapping, first, last);
	if (cache_kind_of(before) == CACHE_READ && before & CACHE_COUNTED && cache_same_file(before, now) &&
	    cache_first_of(before) < cache_first_of(now) && cache_last_of(before) == cache_last_of(now)) {
		state->pending[SONDE_MODULE_ID] = now | CACHE_COUNTED;
		return 0;
	}
	cache_take_fresh(mapping, task, &range, &taken);
	if (taken.pages && taken.last < last)
		last = taken.last;
	else
		now |= CACHE_COUNTED;
	state->pending[SONDE_MODULE_ID] = now;
	if (last - first + 1 > taken.pages)
		cache_hit(state, 0, last - first + 1 - taken.pages);
	return 0;
}

#endif
