/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hit or miss? A page is missed when it is brought in, by a read, a fault or the readahead for them; that event the
 * kernel shows exactly. A hit is a page asked for which was there. What the kernel does not show is which of the pages
 * asked for are those that have just been brought in: their first use is no hit. So each thread that brings in pages of a
 * file has a stream, which remembers which of them have not been asked for yet. */
#ifndef SONDE_CACHE_STREAMS_H
#define SONDE_CACHE_STREAMS_H

#include "cache.h"

#include <sonde/answers.h>
#include <sonde/folio.h>
#include <sonde/rows.h>

SONDE_ANSWERS(cache);

#define TMPFS_MAGIC 0x01021994 /* include/uapi/linux/magic.h */

/* tmpfs, memfd and shared memory: the page cache is all there is of such a file, so it caches nothing. */
sonde_inline bool mapping_is_memory(struct address_space *mapping)
{
	return mapping->host->i_sb->s_magic == TMPFS_MAGIC;
}

/* The task's state if one of these flags is asked of it, else 0. */
sonde_inline struct sonde_task *cache_task(struct task_struct *task, uint8_t flags)
{
	struct sonde_task *state = sonde_may_ask(&cache_answers, task, flags) ? sonde_task_of(task) : 0;

	return state && (state->flags[SONDE_MODULE_ID] & flags) ? state : 0;
}

/* Set before loading. */
const volatile uint32_t cache_page_shift = 12;

#define cache_bytes(pages) ((uint64_t)(pages) << cache_page_shift)

struct cache_stream_key {
	uint64_t mapping;
	uint64_t task; /* by its birth: the address is soon another's */
};

/* Pages that were brought in and not asked for yet: first and one past the last. */
struct cache_range {
	uint64_t from;
	uint64_t to;
};
#define CACHE_RANGES 4 /* readahead leaves out what is there already: what it brings in has gaps */

struct cache_stream {
	struct cache_range range[CACHE_RANGES];
	struct cache_range around; /* what was taken out of them by the last fault-around */
	uint32_t front;   /* the range that grew last */
	uint32_t owed;    /* pages that were counted as hits before they were brought in: taken off those to come */
	uint64_t settled; /* of the present request: what is before this page has been counted */
};

/* Forgotten when there are too many: the first use of what it had brought in counts as a hit then. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CACHE_STREAMS);
	__type(key, struct cache_stream_key);
	__type(value, struct cache_stream);
} cache_streams SEC(".maps");

/* A task's last request, in its scratch: kind (2 bits), the two flags, hash of the file (12), pages after the first (16),
 * first page (32). */
enum cache_kind { CACHE_NOTHING = 0, CACHE_READ, CACHE_MAP, CACHE_FAULT };
#define CACHE_COUNTED (1ULL << 61) /* as a hit already */
#define CACHE_FRESH (1ULL << 60)   /* first use of what was brought in: no hit */
#define CACHE_LAST_MAX 0xffff

sonde_inline uint64_t cache_request(uint32_t kind, struct address_space *mapping, uint64_t first, uint64_t last)
{
	uint64_t hash = (mapping->host->i_ino * 0x9e3779b97f4a7c15ULL) >> 52, more = last - first;

	return (uint64_t)kind << 62 | hash << 48 | (more < CACHE_LAST_MAX ? more : CACHE_LAST_MAX) << 32 | (uint32_t)first;
}

#define cache_kind_of(request) ((uint32_t)((request) >> 62))
#define cache_first_of(request) ((uint32_t)(request))
#define cache_last_of(request) (cache_first_of(request) + (uint32_t)(((request) >> 32) & CACHE_LAST_MAX))
#define cache_same_file(a, b) (!(((a) ^ (b)) >> 48 & 0xfff))
#define cache_covers(request, index) \
	(cache_first_of(request) <= (uint32_t)(index) && (uint32_t)(index) <= cache_last_of(request))

sonde_inline struct cache_stream_key cache_key(struct address_space *mapping, struct task_struct *task)
{
	struct cache_stream_key key = {.mapping = (uint64_t)mapping, .task = task->start_time ^ (uint64_t)task->pid << 40};

	return key;
}

/* The file's bit in sonde_task.cache_files. */
sonde_inline uint64_t cache_file_bit(struct address_space *mapping)
{
	return 1ULL << (mapping->host->i_ino * 0x9e3779b97f4a7c15ULL >> 58);
}

/* The table is asked only of what this task may have a stream of: most reads find all of a file there, as ever. */
sonde_inline struct cache_stream *cache_stream_of(struct sonde_task *state, struct address_space *mapping,
						  struct task_struct *task)
{
	struct cache_stream_key key = cache_key(mapping, task);

	if (!(state->cache.files & cache_file_bit(mapping)))
		return 0;
	return bpf_map_lookup_elem(&cache_streams, &key);
}

sonde_inline void cache_hit(struct sonde_task *state, struct cache_stream *stream, uint64_t pages)
{
	uint64_t owed = stream ? stream->owed : 0;

	if (owed > pages)
		owed = pages;
	if (owed) {
		stream->owed -= owed;
		pages -= owed;
	}
	if (pages)
		sonde_count(&cache_counters, state->slot, CACHE_HIT, cache_bytes(pages));
}

/* Takes pages from..to-1 out of what was not asked for yet, and how many of them were in it. */
sonde_slow uint64_t cache_take(struct cache_stream *stream, uint64_t from, uint64_t to)
{
	uint64_t taken = 0;
	uint32_t i;

	if (!stream)
		return 0;
#pragma unroll
	for (i = 0; i < CACHE_RANGES; i++) {
		struct cache_range *range = &stream->range[i];
		uint64_t begin = range->from, end = range->to;

		if (begin >= end || begin >= to || end <= from)
			continue;
		if (begin < from)
			begin = from;
		if (end > to)
			end = to;
		taken += end - begin;
		range->from = end;
	}
	return taken;
}

/* Fault-around leaves out a page that is not read in yet, or that has readahead's mark (next_uptodate_folio, mm/filemap.c).
 * It was taken with the others, but its own fault is its first use. */
sonde_inline bool cache_left_out(struct cache_stream *stream, uint64_t index)
{
	if (index < stream->around.from || index >= stream->around.to)
		return false;
	stream->around.from = index + 1;
	return true;
}

/* A fault on a page that is there brings nothing in: known when the task asks for something else. */
sonde_inline void cache_settle_fault(struct sonde_task *state, struct cache_stream *stream, uint64_t before)
{
	if (cache_kind_of(before) == CACHE_FAULT && !(before & (CACHE_COUNTED | CACHE_FRESH)))
		cache_hit(state, stream, 1);
}

/* Pages first..last of a file are asked for by a read. A read that does not get all of them at once asks again for the
 * rest. */
sonde_inline int cache_read(struct sonde_task *state, struct task_struct *task, struct address_space *mapping,
			    uint64_t first, uint64_t last)
{
	struct cache_stream *stream = cache_stream_of(state, mapping, task);
	uint64_t size = mapping->host->i_size, end, fresh, start = first;
	uint64_t before = state->cache.request, now;
	struct cache_range *front;
	bool goes_on;

	if (size && last > (size - 1) >> cache_page_shift)
		last = (size - 1) >> cache_page_shift;
	if (last < first)
		return 0;
	now = cache_request(CACHE_READ, mapping, first, last);
	cache_settle_fault(state, stream, before);
	state->cache.request = now;
	goes_on = cache_kind_of(before) == CACHE_READ && cache_same_file(before, now) &&
		  cache_first_of(before) < cache_first_of(now) && cache_last_of(before) == cache_last_of(now);
	if (!stream) {
		if (!goes_on)
			cache_hit(state, 0, last - first + 1);
		return 0;
	}
	if (goes_on) {
		start = stream->settled;
		if (start > last)
			return 0;
	}
	end = last + 1;
	front = &stream->range[stream->front % CACHE_RANGES];
	if (front->from < front->to && front->to > start && front->to < end)
		end = front->to; /* what comes behind those just brought in is not known yet */
	else if (goes_on && first < start)
		return 0; /* nor here: it is on its way through them */
	fresh = cache_take(stream, start, end);
	stream->settled = end;
	if (end - start > fresh)
		cache_hit(state, stream, end - start - fresh);
	return 0;
}

/* The page of a mapping that is needed, by a fault that fault-around has not served. */
sonde_inline int cache_faulted(struct sonde_task *state, struct task_struct *task, struct address_space *mapping,
			       uint64_t index)
{
	struct cache_stream *stream = cache_stream_of(state, mapping, task);
	uint64_t before = state->cache.request, now = cache_request(CACHE_FAULT, mapping, index, index);
	uint32_t kind = cache_same_file(before, now) && cache_covers(before, index) ? cache_kind_of(before) : CACHE_NOTHING;

	if (kind == CACHE_MAP) /* the same fault: fault-around has found its neighbours */
		now |= before & CACHE_COUNTED ? CACHE_COUNTED : CACHE_FRESH;
	else if (kind == CACHE_FAULT) /* the same fault, tried again after a wait */
		now |= before & (CACHE_COUNTED | CACHE_FRESH);
	else
		cache_settle_fault(state, stream, before);
	if (stream && (cache_take(stream, index, index + 1) || (kind == CACHE_MAP && cache_left_out(stream, index)))) {
		stream->owed += !!(now & CACHE_COUNTED);
		now = (now & ~CACHE_COUNTED) | CACHE_FRESH;
	}
	state->cache.request = now;
	return 0;
}

/* Fault-around maps what is there of pages first..last, as a rule with the page that is needed: one page asked for. */
sonde_inline int cache_mapped(struct sonde_task *state, struct task_struct *task, struct address_space *mapping,
			      uint64_t first, uint64_t last)
{
	struct cache_stream *stream = cache_stream_of(state, mapping, task);
	uint64_t before = state->cache.request, now = cache_request(CACHE_MAP, mapping, first, last);
	bool again = cache_kind_of(before) == CACHE_FAULT && cache_same_file(before, now) &&
		     cache_covers(now, cache_first_of(before));
	bool fresh = cache_take(stream, first, last + 1);

	if (fresh && stream) {
		stream->around.from = first;
		stream->around.to = last + 1;
	}
	if (!again)
		cache_settle_fault(state, stream, before);
	else
		fresh = fresh || (before & (CACHE_COUNTED | CACHE_FRESH));
	if (!fresh) {
		cache_hit(state, stream, 1);
		now |= CACHE_COUNTED;
	}
	state->cache.request = now;
	return 0;
}

/* Notes pages as brought in and not asked for yet; the oldest range is replaced if they belong to none. */
sonde_slow int cache_note(struct cache_stream *stream, uint64_t index, uint64_t pages)
{
	uint32_t i;

	if (!stream || !pages)
		return 0;
#pragma unroll
	for (i = 0; i < CACHE_RANGES; i++) {
		struct cache_range *range = &stream->range[i];

		if (range->to == index && range->from <= index && range->to) {
			range->to = index + pages;
			stream->front = i;
			return 0;
		}
	}
	stream->front = (stream->front + 1) % CACHE_RANGES;
	stream->range[stream->front % CACHE_RANGES].from = index;
	stream->range[stream->front % CACHE_RANGES].to = index + pages;
	return 0;
}

/* Pages brought in by reading: missed, and their first use is no hit. */
sonde_inline int cache_missed(struct sonde_task *state, struct task_struct *task, struct address_space *mapping,
			      uint64_t index, uint64_t pages)
{
	struct cache_stream_key key = cache_key(mapping, task);
	struct cache_stream *stream = bpf_map_lookup_elem(&cache_streams, &key);
	uint64_t before = state->cache.request, here = cache_request(0, mapping, index, index);
	uint32_t kind = cache_same_file(before, here) ? cache_kind_of(before) : CACHE_NOTHING;

	sonde_count(&cache_counters, state->slot, CACHE_MISS, cache_bytes(pages));
	if (!stream) {
		struct cache_stream empty = {.settled = kind == CACHE_READ ? cache_last_of(before) + 1ULL : 0};

		state->cache.files |= cache_file_bit(mapping);
		if (bpf_map_update_elem(&cache_streams, &key, &empty, BPF_ANY))
			sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
		stream = bpf_map_lookup_elem(&cache_streams, &key);
		if (!stream)
			return 0;
	}
	if (kind == CACHE_READ && cache_covers(before, index) && (uint32_t)index > cache_first_of(before) &&
	    index < stream->settled) {
		stream->owed += pages; /* taken for there when the read asked, and asked for */
		return 0;
	}
	if (kind == CACHE_FAULT && cache_first_of(before) - (uint32_t)index < pages) {
		/* The page of the fault itself is among them: it has been asked for. */
		uint64_t left = cache_first_of(before) - (uint32_t)index;

		stream->owed += !!(before & CACHE_COUNTED);
		state->cache.request = (before & ~CACHE_COUNTED) | CACHE_FRESH;
		cache_note(stream, index, left);
		index += left + 1;
		pages -= left + 1;
	}
	return cache_note(stream, index, pages);
}

#endif
