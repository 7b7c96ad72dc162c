/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The throttle probe: nothing is counted in the kernel. */
#ifndef SONDE_THROTTLE_H
#define SONDE_THROTTLE_H

#include <sonde/abi.h>

#define THROTTLE_FLAG 1

/* Values of Source::Read. */
enum throttle_read {
	THROTTLE_TIME = 0, /* us */
	THROTTLE_THROTTLED,
	THROTTLE_PERIODS,
	THROTTLE_READS,
};

#endif
