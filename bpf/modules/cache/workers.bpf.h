/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads by the kernel's workers for io_uring. Any of a process's workers may ask for what another has brought in, and in
 * any order: so which pages are not asked for yet is kept by process, one bit for each. */
#ifndef SONDE_CACHE_WORKERS_H
#define SONDE_CACHE_WORKERS_H

#include "streams.bpf.h"

#define CACHE_KNOWS_WORKERS bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop) /* Linux 5.17 */
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
	return CACHE_KNOWS_WORKERS && task->flags & PF_IO_WORKER;
}

sonde_inline bool cache_has_workers(struct task_struct *task)
{
	return CACHE_KNOWS_WORKERS && bpf_core_field_exists(task->io_uring) && task->io_uring;
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

/* A walk over a range of pages, word by word. The loops are bpf_loop() calls in global functions, which the verifier checks
 * once and apart from their callers. As plain loops in static functions they exceed the million instructions that Linux 6.1
 * allows, and take 390,000 on 6.18. */
struct cache_walk {
	struct cache_fresh_key key; /* of the present word */
	uint64_t first;             /* the first page ahead */
	uint64_t last;
	uint64_t taken;  /* pages that workers had brought in and nobody had asked for yet */
	uint64_t behind; /* the page behind the last of them */
};

/* The bits of the range in the word ahead, which becomes the present one. */
sonde_inline uint64_t cache_next_word(struct cache_walk *walk)
{
	uint64_t first = walk->first, end = first | 63;

	if (end > walk->last)
		end = walk->last;
	walk->key.word = first >> 6;
	walk->first = end + 1;
	return cache_mask(first, end);
}

static long cache_bring_word(uint32_t place, struct cache_walk *walk)
{
	uint64_t mask = cache_next_word(walk), *fresh = bpf_map_lookup_elem(&cache_fresh, &walk->key);

	if (fresh)
		__sync_fetch_and_or(fresh, mask);
	else if (bpf_map_update_elem(&cache_fresh, &walk->key, &mask, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return walk->first > walk->last;
}

static long cache_take_word(uint32_t place, struct cache_walk *walk)
{
	uint64_t mask = cache_next_word(walk), *fresh = bpf_map_lookup_elem(&cache_fresh, &walk->key);

	if (fresh && *fresh & mask) {
		mask &= __sync_fetch_and_and(fresh, ~mask);
		if (mask) {
			walk->taken += cache_bits(mask);
			walk->behind = walk->key.word * 64 + cache_highest(mask) + 1;
		}
	}
	return walk->first > walk->last;
}

__noinline int cache_bring_words(const struct cache_walk *begin)
{
	struct cache_walk walk; /* bpf_loop() takes a context on the stack only */

	if (!begin)
		return 0;
	walk = *begin;
	bpf_loop(CACHE_WORDS, cache_bring_word, &walk, 0);
	return 0;
}

__noinline int cache_take_words(struct cache_walk *whole)
{
	struct cache_walk walk;

	if (!whole)
		return 0;
	walk = *whole;
	bpf_loop(CACHE_WORDS, cache_take_word, &walk, 0);
	whole->taken = walk.taken;
	whole->behind = walk.behind;
	return 0;
}

/* Pages first..last were brought in by a worker. */
sonde_inline int cache_worker_brought(struct address_space *mapping, struct task_struct *task, uint64_t first, uint64_t last)
{
	struct cache_walk walk = {.key = cache_fresh_key_of(mapping, task), .first = first, .last = last};

	return cache_bring_words(&walk);
}

/* Pages first..last are asked for: what workers had brought in of them is so no longer. */
sonde_inline struct cache_walk cache_take_fresh(struct address_space *mapping, struct task_struct *task, uint64_t first,
						uint64_t last)
{
	struct cache_walk walk = {.key = cache_fresh_key_of(mapping, task), .first = first, .last = last};

	cache_take_words(&walk);
	return walk;
}

/* A thread that has workers asks itself: the first page of the range behind those that they have brought in for it. */
sonde_inline uint64_t cache_behind_fresh(struct address_space *mapping, struct task_struct *task, uint64_t first,
					 uint64_t last)
{
	struct cache_walk walk = cache_take_fresh(mapping, task, first, last);

	return walk.taken ? walk.behind : first;
}

/* As cache_read(), for a worker. If pages just brought in are among those that are asked for, what comes behind them is not
 * known yet: the read asks again for the rest. */
sonde_inline int cache_worker_read(struct sonde_task *state, struct task_struct *task, struct address_space *mapping,
				   uint64_t first, uint64_t last)
{
	uint64_t size = mapping->host->i_size, before = state->cache.request, now;
	struct cache_walk walk;

	if (size && last > (size - 1) >> cache_page_shift)
		last = (size - 1) >> cache_page_shift;
	if (last < first)
		return 0;
	now = cache_request(CACHE_READ, mapping, first, last);
	if (cache_kind_of(before) == CACHE_READ && before & CACHE_COUNTED && cache_same_file(before, now) &&
	    cache_first_of(before) < cache_first_of(now) && cache_last_of(before) == cache_last_of(now)) {
		state->cache.request = now | CACHE_COUNTED;
		return 0;
	}
	walk = cache_take_fresh(mapping, task, first, last);
	if (walk.taken && walk.behind <= last)
		last = walk.behind - 1;
	else
		now |= CACHE_COUNTED;
	state->cache.request = now;
	if (last - first + 1 > walk.taken)
		cache_hit(state, 0, last - first + 1 - walk.taken);
	return 0;
}

#endif
