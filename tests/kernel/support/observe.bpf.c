// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A probe whose latencies a test chooses: BPF_PROG_TEST_RUN with {slot, ns} is one event. The maps are those of sched, so
 * what it counts takes the way of everything else: pool of rows, drain, deltas. */
#include <sonde/bpf.h>
#include <sonde/rows.h>

#include "bpf/modules/sched/sched.h"

SONDE_LICENSE;
SONDE_ROWS(sched, SCHED_COUNTERS, SCHED_HISTOGRAMS);

SEC("raw_tp")
int observe(struct bpf_raw_tracepoint_args *event)
{
	sonde_observe(&sched_histograms, (uint32_t)event->args[0], SCHED_WAIT, event->args[1]);
	return 0;
}
