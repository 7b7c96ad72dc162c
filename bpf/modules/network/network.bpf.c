// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the network does for and to each subject: TCP, UDP, DNS, drops. */
#include <sonde/bpf.h>

#include <bpf/bpf_endian.h>

#include "connection.h"
#include "dns.h"
#include "drops.h"
#include "iterate.h"
#include "packets.h"
#include "segments.h"

SONDE_LICENSE;

const volatile bool sonde_have_cast = false;
