/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets that the kernel throws away, by its own reason (enum skb_drop_reason, whose numbers differ from kernel to kernel:
 * user space asks BTF for the names). */
#ifndef SONDE_NETWORK_DROPS_H
#define SONDE_NETWORK_DROPS_H

#include "charge.bpf.h"

#define NETWORK_REASONS 8 /* cells that are used: the rest are one, "other" */
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

/* What the tracepoint says: the reason since 5.17, the socket that was to receive it since 6.11. Set before loading. */
const volatile bool network_drop_has_reason = false;
const volatile bool network_drop_has_socket = false;

SONDE_CELL_ROWS(network);

/* The first reasons that occur have cells; which are frequent shows early. */
sonde_slow int network_count_drop(struct sonde_cells *cells, uint32_t reason)
{
	uint32_t i, wanted = reason + 1, seen;

	if (!cells)
		return 0;
	for (i = 0; i < NETWORK_REASONS; i++) {
		seen = *(volatile uint32_t *)&cells->key[i];
		if (!seen)
			seen = __sync_val_compare_and_swap(&cells->key[i], 0, wanted);
		if (!seen || seen == wanted) {
			__sync_fetch_and_add(&cells->count[i], 1);
			return 0;
		}
	}
	__sync_fetch_and_add(&cells->other, 1);
	return 0;
}

sonde_inline bool network_is_internet(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET || sk->__sk_common.skc_family == AF_INET6;
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(network_drop, struct sk_buff *skb)
{
	uint32_t slot = SONDE_SLOT_UNATTRIBUTED, reason = network_drop_has_reason ? (uint32_t)ctx[2] : 0;
	struct sock *sk = skb->sk, *receiver;
	struct sonde_cells *cells;
	bool ours = false;
	uint8_t flags = 0;

	if (network_drop_has_socket) {
		receiver = (struct sock *)ctx[3];
		if (receiver && network_is_full(receiver)) {
			if (!network_is_internet(receiver))
				return 0;
			slot = network_charge_socket(receiver, &flags);
			ours = true;
		}
	}
	if (!ours && sk && network_is_full(sk)) {
		if (!network_is_internet(sk))
			return 0;
		slot = network_charge_socket(sk, &flags);
	} else if (!ours) {
		if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
			return 0;
		flags = sonde_flags_of(slot);
	}
	if (!(flags & NETWORK_DROPS))
		return 0;
	cells = bpf_map_lookup_elem(&network_cells, &slot);
	network_count_drop(cells, reason);
	return 0;
}

#endif
