// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the network does for and to each subject: TCP, UDP, DNS, drops. */
#include <sonde/bpf.h>

#include <bpf/bpf_endian.h>

#include "connection.bpf.h"
#include "dns.bpf.h"
#include "drops.bpf.h"
#include "iterate.bpf.h"
#include "packets.bpf.h"
#include "segments.bpf.h"

SONDE_LICENSE;

const volatile bool sonde_have_cast = false;
