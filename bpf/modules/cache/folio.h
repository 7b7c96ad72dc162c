/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a folio is on each kernel: where it belongs, how many pages it has, whose memory it is. */
#ifndef SONDE_CACHE_FOLIO_H
#define SONDE_CACHE_FOLIO_H

#include <sonde/bpf.h>

/* Since 6.18 the flags stand in a struct of their own, and the number of pages has another name since
 * 6.15. */
typedef struct {
	unsigned long f;
} memdesc_flags_t___since_6_18;
struct folio___since_6_18 {
	memdesc_flags_t___since_6_18 flags;
} __attribute__((preserve_access_index));
struct folio___since_6_15 {
	unsigned int _nr_pages;
} __attribute__((preserve_access_index));

/* Before 5.16 hooks are given pages, of which a file's are single ones. */
sonde_inline struct address_space *folio_mapping(struct folio *folio)
{
	if (bpf_core_type_exists(struct folio))
		return folio->mapping;
	return ((struct page *)folio)->mapping;
}

sonde_inline uint64_t folio_index(struct folio *folio)
{
	if (bpf_core_type_exists(struct folio))
		return folio->index;
	return ((struct page *)folio)->index;
}

sonde_inline bool folio_is_large(struct folio *folio)
{
	struct folio___since_6_18 *newer = (void *)folio;
	uint64_t flags;

	if (bpf_core_field_exists(newer->flags.f))
		flags = newer->flags.f;
	else
		flags = folio->flags;
	return flags & (1ULL << bpf_core_enum_value(enum pageflags, PG_head));
}

sonde_inline uint32_t folio_pages(struct folio *folio)
{
	struct folio___since_6_15 *newer = (void *)folio;

	if (!bpf_core_type_exists(struct folio) || !folio_is_large(folio))
		return 1;
	if (bpf_core_field_exists(newer->_nr_pages))
		return newer->_nr_pages;
	return folio->_folio_nr_pages;
}

#define TMPFS_MAGIC 0x01021994 /* include/uapi/linux/magic.h */

/* tmpfs, memfd and shared memory: the page cache is all there is of such a file, so it caches nothing. */
sonde_inline bool mapping_is_memory(struct address_space *mapping)
{
	return mapping->host->i_sb->s_magic == TMPFS_MAGIC;
}

/* The id of the v2 cgroup whose memory the folio is; 0: none, or not known because the memory controller is v1's. */
sonde_inline uint64_t folio_cgroup(struct folio *folio)
{
	struct mem_cgroup *memory;
	struct cgroup *cgroup;

	if (!bpf_core_type_exists(struct folio) || !bpf_core_field_exists(folio->memcg_data))
		return 0;
	memory = (struct mem_cgroup *)(folio->memcg_data & ~7UL); /* MEMCG_DATA_*, include/linux/memcontrol.h */
	if (!memory)
		return 0;
	cgroup = BPF_CORE_READ(memory, css.cgroup);
	if (BPF_CORE_READ(cgroup, root, hierarchy_id) != 0)
		return 0;
	return BPF_CORE_READ(cgroup, kn, id);
}

#endif
