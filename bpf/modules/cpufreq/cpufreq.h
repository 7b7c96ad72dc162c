/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The cpufreq probe: nothing is counted in the kernel. */
#ifndef SONDE_CPUFREQ_H
#define SONDE_CPUFREQ_H

#include <sonde/abi.h>

#define CPUFREQ_FLAG 1

#endif
