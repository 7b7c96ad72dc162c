/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel allocates while a task runs. Estimates: an interrupt's allocations are charged to the task that it
 * interrupts, and what one task frees another may have allocated. */
#ifndef SONDE_MEMORY_ALLOCATIONS_H
#define SONDE_MEMORY_ALLOCATIONS_H

#include "state.bpf.h"

/* Raw tracepoints: what these pass is a pointer to const void, which 6.1's verifier lets no typed program read. */

/* Since 6.14: the cache that an address was allocated from. */
extern struct kmem_cache *bpf_get_kmem_cache(uint64_t address) __ksym __weak;

sonde_inline int memory_allocated(uint32_t allocator, uint64_t bytes)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_ALLOCATIONS);
	uint32_t slot;
	uint64_t *row;

	if (!state)
		return 0;
	slot = state->slot;
	row = bpf_map_lookup_elem(&memory_counters, &slot);
	if (!row)
		return 0;
	__sync_fetch_and_add(&row[MEMORY_ALLOCATED + allocator], bytes);
	__sync_fetch_and_add(&row[MEMORY_ALLOCATIONS + allocator], 1);
	return 0;
}

SEC("raw_tp/kmalloc")
int BPF_PROG(memory_kmalloc, unsigned long site, const void *address, size_t wanted, size_t bytes)
{
	return address ? memory_allocated(MEMORY_KMALLOC, bytes) : 0;
}

SEC("raw_tp/kfree")
int BPF_PROG(memory_kfree, unsigned long site, const void *address)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_ALLOCATIONS);
	struct kmem_cache *cache;

	if (!state || !address || !bpf_get_kmem_cache)
		return 0;
	cache = bpf_get_kmem_cache((uint64_t)address);
	if (cache) /* else it was large and came in pages */
		sonde_count(&memory_counters, state->slot, MEMORY_FREED + MEMORY_KMALLOC, cache->size);
	return 0;
}

SEC("raw_tp/kmem_cache_alloc")
int BPF_PROG(memory_cache_alloc, unsigned long site, const void *address, struct kmem_cache *cache)
{
	return address ? memory_allocated(MEMORY_KMEM_CACHE, BPF_CORE_READ(cache, size)) : 0;
}

SEC("raw_tp/kmem_cache_free")
int BPF_PROG(memory_cache_free, unsigned long site, const void *address, struct kmem_cache *cache)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_ALLOCATIONS);

	if (state && address)
		sonde_count(&memory_counters, state->slot, MEMORY_FREED + MEMORY_KMEM_CACHE, BPF_CORE_READ(cache, size));
	return 0;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(memory_page_alloc, struct page *page, unsigned int order)
{
	return page ? memory_allocated(MEMORY_PAGE, memory_bytes(1ULL << order)) : 0;
}

SEC("tp_btf/mm_page_free")
int BPF_PROG(memory_page_free, struct page *page, unsigned int order)
{
	struct sonde_task *state = memory_measured(MEMORY_FLAG_ALLOCATIONS);

	if (state)
		sonde_count(&memory_counters, state->slot, MEMORY_FREED + MEMORY_PAGE, memory_bytes(1ULL << order));
	return 0;
}

#endif
