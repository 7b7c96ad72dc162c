// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The cache probe: what is asked of the page cache, what comes in and leaves, and what programs advise the kernel about
 * it. README.md says what counts as what. */
#include "cache.h"

#include <sonde/rows.h>
#include <sonde/who.h>

SONDE_LICENSE;

SONDE_ROWS(cache, CACHE_COUNTERS, 1); /* it has no histogram, but a row has one place at least */
SONDE_CELL_ROWS(cache);

#include "advice.bpf.h"
#include "pages.bpf.h"
#include "reads.bpf.h"
