/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The cpu_pmu probe: numbers that cpu_pmu.bpf.c and cpu_pmu.cpp share. */
#ifndef SONDE_CPU_PMU_H
#define SONDE_CPU_PMU_H

#include <sonde/abi.h>

/* Hardware events, each a counter of the same number. */
enum cpu_pmu_event {
	CPU_PMU_CYCLES = 0,
	CPU_PMU_INSTRUCTIONS,
	CPU_PMU_L1D_REFERENCES,
	CPU_PMU_LLC_REFERENCES,
	CPU_PMU_L1D_MISSES,
	CPU_PMU_LLC_MISSES,
	CPU_PMU_TLB_MISSES,
	CPU_PMU_EVENTS,
};

/* Bits of a subject's flags byte: 1 << enum cpu_pmu_event. */
#define CPU_PMU_FLAG(event) (1 << (event))
#define CPU_PMU_ALL ((1 << CPU_PMU_EVENTS) - 1)

#endif
