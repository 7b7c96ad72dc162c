/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What comes into the page cache, gets dirty there and leaves it. */
#ifndef SONDE_CACHE_PAGES_H
#define SONDE_CACHE_PAGES_H

#include "workers.bpf.h"

#define RWSEM_READER_OWNED 1UL /* kernel/locking/rwsem.c, as the next two */
#define RWSEM_OWNER_FLAGS 7UL
#define RWSEM_READERS(count) ((int64_t)(count) >> 8 > 0)

/* A folio is added for reading under the file's invalidate_lock, held shared (page_cache_ra_unbounded, page_cache_ra_order,
 * filemap_create_folio, filemap_fault; 5.15 and later). A write adds it under the inode's lock, held by the writer alone;
 * a file system adds its own metadata under neither. */
sonde_inline bool cache_added_by_reading(struct address_space *mapping, struct task_struct *task)
{
	uint64_t owner = mapping->host->i_rwsem.owner.counter;

	if (!(owner & RWSEM_READER_OWNED) && (owner & ~RWSEM_OWNER_FLAGS) == (uint64_t)task)
		return false;
	if (!bpf_core_field_exists(mapping->invalidate_lock))
		return true;
	return RWSEM_READERS(mapping->invalidate_lock.count.counter);
}

SEC("tp_btf/mm_filemap_add_to_page_cache")
int BPF_PROG(cache_added, struct folio *folio)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sonde_task *state = cache_task(task, CACHE_FLAG_READ | CACHE_FLAG_ADDED);
	struct address_space *mapping;
	uint32_t pages;
	uint8_t flags;

	if (!state)
		return 0;
	flags = state->flags[SONDE_MODULE_ID];
	pages = sonde_folio_pages(folio);
	if (flags & CACHE_FLAG_ADDED)
		sonde_count(&cache_counters, state->slot, CACHE_ADDED, cache_bytes(pages));
	mapping = sonde_folio_mapping(folio);
	if (!(flags & CACHE_FLAG_READ) || !cache_added_by_reading(mapping, task))
		return 0;
	if (cache_is_worker(task)) {
		sonde_count(&cache_counters, state->slot, CACHE_MISS, cache_bytes(pages));
		return cache_worker_brought(mapping, task, sonde_folio_index(folio), sonde_folio_index(folio) + pages - 1);
	}
	return cache_missed(state, task, mapping, sonde_folio_index(folio), pages);
}

/* Of the cgroup that has the memory, whoever takes the page away; where that is not known, of who takes it. */
SEC("tp_btf/mm_filemap_delete_from_page_cache")
int BPF_PROG(cache_evicted, struct folio *folio)
{
	uint64_t cgroup = sonde_folio_cgroup(folio);
	struct sonde_task *state;
	uint8_t flags = 0;
	uint32_t slot;

	if (mapping_is_memory(sonde_folio_mapping(folio))) /* the kernel does not tell of their coming either */
		return 0;
	if (cgroup) {
		slot = sonde_answer(&cache_answers, cgroup, &flags);
	} else {
		state = cache_task(bpf_get_current_task_btf(), CACHE_FLAG_EVICTED);
		if (!state)
			return 0;
		flags = state->flags[SONDE_MODULE_ID];
		slot = state->slot;
	}
	if (flags & CACHE_FLAG_EVICTED)
		sonde_count(&cache_counters, slot, CACHE_EVICTED, cache_bytes(sonde_folio_pages(folio)));
	return 0;
}

SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(cache_dirtied, struct folio *folio)
{
	struct sonde_task *state = cache_task(bpf_get_current_task_btf(), CACHE_FLAG_DIRTIED);

	if (state)
		sonde_count(&cache_counters, state->slot, CACHE_DIRTIED, cache_bytes(sonde_folio_pages(folio)));
	return 0;
}

#endif
