/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whom to charge: the socket's cgroup, whoever is running. A socket has the cgroup of the process that made it, one that
 * was accepted that of its listener.
 *
 * These hooks fire for each segment of everybody, so the answer is remembered per CPU, by cgroup. An entry is two words
 * and valid only if they fit together: an interrupt that writes the same entry in between leaves a pair that does not. */
#ifndef SONDE_NETWORK_CHARGE_H
#define SONDE_NETWORK_CHARGE_H

#include "network.h"
#include <sonde/who.h>

#define NETWORK_CACHED 64 /* a power of two */

struct network_cached {
	uint64_t tag;    /* cgroup id, exclusive-or answer */
	uint64_t answer; /* generation, slot in 24 bits, flags in 8 */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NETWORK_CACHED);
	__type(key, uint32_t);
	__type(value, struct network_cached);
} network_cache SEC(".maps");

sonde_inline uint32_t network_charge(uint64_t cgroup_id, uint8_t *flags)
{
	struct sonde_globals *globals = sonde_global();
	uint32_t place = (uint32_t)(cgroup_id ^ (cgroup_id >> 6)) & (NETWORK_CACHED - 1), slot, generation;
	struct network_cached *cached = bpf_map_lookup_elem(&network_cache, &place);
	uint64_t tag, answer;

	if (!globals || !cached) {
		*flags = 0;
		return SONDE_SLOT_UNATTRIBUTED;
	}
	generation = *(volatile uint32_t *)&globals->generation; /* first: rather too old than too new */
	tag = *(volatile uint64_t *)&cached->tag;
	answer = *(volatile uint64_t *)&cached->answer;
	if ((tag ^ answer) == cgroup_id && answer >> 32 == generation) {
		*flags = (uint8_t)answer;
		return (uint32_t)answer >> 8;
	}
	slot = sonde_slot_of_cgroup(cgroup_id, flags);
	answer = (uint64_t)generation << 32 | (uint64_t)(slot & 0xffffff) << 8 | *flags;
	*(volatile uint64_t *)&cached->tag = cgroup_id ^ answer;
	*(volatile uint64_t *)&cached->answer = answer;
	return slot;
}

/* Of a full socket. */
sonde_inline uint32_t network_charge_socket(const struct sock *sk, uint8_t *flags)
{
	return network_charge(sk->sk_cgrp_data.cgroup->kn->id, flags);
}

/* Requests and sockets in TIME_WAIT are smaller structures: they have no cgroup. */
sonde_inline bool network_is_full(const struct sock *sk)
{
	return sk->__sk_common.skc_state != TCP_TIME_WAIT && sk->__sk_common.skc_state != TCP_NEW_SYN_RECV;
}

#endif
