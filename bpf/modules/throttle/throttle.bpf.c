// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* No program: user space reads what the kernel keeps. */
#include "throttle.h"

#include <sonde/rows.h>

SONDE_LICENSE;
