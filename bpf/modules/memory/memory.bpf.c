// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The memory probe: faults, reclaim, the out-of-memory killer, swap, and what the kernel allocates. README.md says what
 * counts as what. */
#include "memory.h"

#include <sonde/rows.h>
#include <sonde/who.h>

SONDE_LICENSE;

SONDE_ROWS(memory, MEMORY_COUNTERS, MEMORY_HISTOGRAMS);
SONDE_GAUGE_ROWS(memory, MEMORY_GAUGES);

#include "allocations.bpf.h"
#include "faults.bpf.h"
#include "reclaim.bpf.h"
#include "swap.bpf.h"
