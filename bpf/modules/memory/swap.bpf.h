/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes to swap devices and files, and comes back: as requests to block devices. */
#ifndef SONDE_MEMORY_SWAP_H
#define SONDE_MEMORY_SWAP_H

#include "state.bpf.h"

#include <sonde/swap.h>

/* The v2 cgroup whose memory the page is; 0: not known. */
sonde_inline uint64_t memory_owner(struct page *page)
{
	struct folio *folio = (struct folio *)page;

	return sonde_memory_cgroup(BPF_CORE_READ(folio, memcg_data));
}

/* Once per request, however many devices are stacked: those below get clones. Out: whose memory it is, whoever reclaims;
 * where the memory controller is v1's, who reclaims. In: who needs it, readahead included. */
SEC("tp_btf/block_bio_queue")
int BPF_PROG(memory_swap, struct bio *bio)
{
	uint32_t operation = bio->bi_opf & REQ_OP_MASK, slot;
	struct sonde_task *state = 0;
	uint64_t cgroup = 0;
	uint8_t flags;

	if (operation == REQ_OP_WRITE ? !(bio->bi_opf & (1U << bpf_core_enum_value(enum req_flag_bits, __REQ_SWAP)))
				      : !sonde_is_swap_in(bio))
		return 0;
	if ((bio->bi_flags & BIO_CLONED_BIT) || !bio->bi_iter.bi_size)
		return 0;
	if (operation == REQ_OP_WRITE)
		cgroup = memory_owner(bio->bi_io_vec->bv_page);
	if (cgroup) {
		slot = sonde_slot_of_cgroup(cgroup, &flags);
	} else {
		state = sonde_task_of(bpf_get_current_task_btf());
		if (!state)
			return 0;
		slot = state->slot;
		flags = state->flags[SONDE_MODULE_ID];
	}
	if (!(flags & MEMORY_FLAG_SWAP))
		return 0;
	if (operation == REQ_OP_WRITE)
		sonde_count(&memory_counters, slot, MEMORY_SWAP_OUT, bio->bi_iter.bi_size);
	else
		sonde_count(&memory_counters, slot, MEMORY_SWAP_IN, bio->bi_iter.bi_size);
	return 0;
}

#endif
