/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pages and folios on each kernel: their flags, where they belong, how many pages there are, whose memory it is. */
#ifndef SONDE_FOLIO_H
#define SONDE_FOLIO_H

#include <sonde/bpf.h>

/* Since 6.18 the flags are in a struct of their own; the number of pages has had another name since 6.15. */
typedef struct {
	unsigned long f;
} memdesc_flags_t___since_6_18;
struct page___since_6_18 {
	memdesc_flags_t___since_6_18 flags;
} __attribute__((preserve_access_index));

sonde_inline uint64_t sonde_page_flags(struct page *page)
{
	struct page___since_6_18 *newer = (void *)page;

	if (bpf_core_field_exists(newer->flags.f))
		return newer->flags.f;
	return page->flags;
}

#define SONDE_PAGE_BIT(name) (1ULL << bpf_core_enum_value(enum pageflags, name))

struct folio___since_6_18 {
	memdesc_flags_t___since_6_18 flags;
} __attribute__((preserve_access_index));
struct folio___since_6_15 {
	unsigned int _nr_pages;
} __attribute__((preserve_access_index));

/* Before 5.16 hooks are given pages, of which a file's are single ones. */
sonde_inline struct address_space *sonde_folio_mapping(struct folio *folio)
{
	if (bpf_core_type_exists(struct folio))
		return folio->mapping;
	return ((struct page *)folio)->mapping;
}

sonde_inline uint64_t sonde_folio_index(struct folio *folio)
{
	if (bpf_core_type_exists(struct folio))
		return folio->index;
	return ((struct page *)folio)->index;
}

sonde_inline bool sonde_folio_is_large(struct folio *folio)
{
	struct folio___since_6_18 *newer = (void *)folio;
	uint64_t flags;

	if (bpf_core_field_exists(newer->flags.f))
		flags = newer->flags.f;
	else
		flags = folio->flags;
	return flags & (1ULL << bpf_core_enum_value(enum pageflags, PG_head));
}

sonde_inline uint32_t sonde_folio_pages(struct folio *folio)
{
	struct folio___since_6_15 *newer = (void *)folio;

	if (!bpf_core_type_exists(struct folio) || !sonde_folio_is_large(folio))
		return 1;
	if (bpf_core_field_exists(newer->_nr_pages))
		return newer->_nr_pages;
	return folio->_folio_nr_pages;
}

#define SONDE_MEMCG_DATA_FLAGS 7UL /* MEMCG_DATA_*, include/linux/memcontrol.h */

/* The id of the v2 cgroup that a folio's memcg_data names; 0: none, or not known because the memory controller is v1's. */
sonde_inline uint64_t sonde_memory_cgroup(uint64_t memcg_data)
{
	struct mem_cgroup *memory = (struct mem_cgroup *)(memcg_data & ~SONDE_MEMCG_DATA_FLAGS);
	struct cgroup *cgroup;

	if (!memory)
		return 0;
	cgroup = BPF_CORE_READ(memory, css.cgroup);
	if (BPF_CORE_READ(cgroup, root, hierarchy_id) != 0)
		return 0;
	return BPF_CORE_READ(cgroup, kn, id);
}

/* The id of the v2 cgroup whose memory the folio is; 0: none, or not known because the memory controller is v1's. */
sonde_inline uint64_t sonde_folio_cgroup(struct folio *folio)
{
	if (!bpf_core_type_exists(struct folio) || !bpf_core_field_exists(folio->memcg_data))
		return 0;
	return sonde_memory_cgroup(folio->memcg_data);
}

#endif
