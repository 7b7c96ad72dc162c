/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests that bring a page back from swap. They are not marked: they are told by their first page. */
#ifndef SONDE_SWAP_H
#define SONDE_SWAP_H

#include <sonde/folio.h>

#define REQ_OP_MASK 0xffU /* include/linux/blk_types.h, as the next */
#define BIO_CLONED_BIT (1U << 1)

/* A page that is being swapped in is locked and has no content yet; no other page that belongs to no file is read in that
 * state: direct reads go to pages that have one. Clones of stacked devices look the same: BIO_CLONED_BIT tells them. */
sonde_inline bool sonde_is_swap_in(struct bio *bio)
{
	uint64_t flags, set = SONDE_PAGE_BIT(PG_swapbacked) | SONDE_PAGE_BIT(PG_locked);

	if ((bio->bi_opf & REQ_OP_MASK) != REQ_OP_READ || !bio->bi_iter.bi_size)
		return false;
	flags = sonde_page_flags(bio->bi_io_vec->bv_page);
	return (flags & (set | SONDE_PAGE_BIT(PG_uptodate))) == set;
}

#endif
