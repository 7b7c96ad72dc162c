/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Single events of TCP: retransmits, resets, round trips. */
#ifndef SONDE_NETWORK_SEGMENTS_H
#define SONDE_NETWORK_SEGMENTS_H

#include "connection.bpf.h"

/* The tracepoint says since 6.16 whether the segment got out (and fires also if not). Set before loading. */
const volatile bool network_retransmit_has_error = false;

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(network_retransmit, struct sock *sk, struct sk_buff *skb)
{
	struct tcp_skb_cb *control = (struct tcp_skb_cb *)skb->cb;
	uint16_t segments = 0;
	uint32_t slot;
	uint8_t flags;

	if (network_retransmit_has_error && (int)ctx[2])
		return 0;
	slot = network_charge_socket(sk, &flags);
	if (!(flags & NETWORK_TROUBLE))
		return 0;
	bpf_core_read(&segments, sizeof(segments), &control->tcp_gso_segs); /* the verifier takes cb for plain characters */
	sonde_count(&network_counters, slot, NETWORK_RETRANSMITS, segments ? segments : 1);
	return 0;
}

/* SYN-ACK; the socket is the listener. */
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(network_retransmit_synack, struct sock *sk)
{
	uint8_t flags;
	uint32_t slot = network_charge_socket(sk, &flags);

	if (flags & NETWORK_TROUBLE)
		sonde_count(&network_counters, slot, NETWORK_RETRANSMITS, 1);
	return 0;
}

/* No socket: somebody asked for a port that nobody listens at, or a connection that is gone. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(network_send_reset, struct sock *sk)
{
	uint32_t slot = SONDE_SLOT_UNATTRIBUTED;
	uint8_t flags;

	if (sk && network_is_full(sk))
		slot = network_charge_socket(sk, &flags);
	else
		flags = sonde_flags_of(slot);
	if (flags & NETWORK_DETAIL)
		sonde_count(&network_counters, slot, NETWORK_RESETS_TRANSMIT, 1);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(network_receive_reset, struct sock *sk)
{
	uint8_t flags;
	uint32_t slot = network_charge_socket(sk, &flags);

	if (flags & NETWORK_DETAIL)
		sonde_count(&network_counters, slot, NETWORK_RESETS_RECEIVE, 1);
	return 0;
}

/* No pass goes through the sockets here (see network.cpp): each segment brings what has moved before it. Set before loading. */
const volatile bool network_by_segment = false;

/* Also for unselected sockets, so that it is not counted later. */
sonde_slow int network_account_segment(struct sock *sk, struct tcp_sock *tcp, uint32_t slot, uint32_t flags)
{
	struct network_socket *note, *above_note;
	struct sock *above;

	if (!sk || !tcp)
		return 0;
	note = bpf_sk_storage_get(&network_sockets, sk, 0, 0);
	if (!note || note->epoch != network_epoch) {
		if (flags & NETWORK_BY_SOCKET)
			network_find(sk, tcp, TCP_ESTABLISHED);
		return 0;
	}
	network_account(note, tcp, slot, flags, false);
	if (note->path == NETWORK_ONLY_PATH)
		return 0;
	above = network_above(sk);
	if (!above)
		return 0;
	above_note = bpf_sk_storage_get(&network_sockets, above, 0, 0);
	if (above_note && above_note->epoch == network_epoch)
		network_account_multipath(above_note, above, slot, flags);
	return 0;
}

/* Has it no note? That its storage is empty is one load. What another program has put there hides that ours is missing, so
 * now and then it is looked for. */
sonde_inline bool network_is_unknown(struct sock *sk, const struct tcp_sock *tcp)
{
	struct network_socket *note;

	if (!sk->sk_bpf_storage)
		return true;
	if (tcp->segs_in & 15)
		return false;
	note = bpf_sk_storage_get(&network_sockets, sk, 0, 0);
	return !note || note->epoch != network_epoch;
}

/* Each segment that comes for an established connection, before the kernel has looked at it. The round-trip time is
 * smoothed (RFC 6298), in 1/8 us. */
sonde_inline int network_segment(struct sock *sk, uint32_t wanted)
{
	uint8_t flags;
	uint32_t slot = network_charge_socket(sk, &flags), srtt;
	struct tcp_sock *tcp;

	if (!(flags & wanted) && !(network_by_segment && sk->sk_bpf_storage))
		return 0;
	tcp = sonde_have_cast ? sonde_cast(sk, struct tcp_sock) : bpf_skc_to_tcp_sock(sk); /* this hook has no others */
	if (!tcp)
		return 0;
	if (network_by_segment)
		network_account_segment(sk, tcp, slot, flags);
	else if ((flags & NETWORK_BY_SOCKET) && network_is_unknown(sk, tcp))
		network_find(sk, tcp, TCP_ESTABLISHED);
	srtt = tcp->srtt_us;
	if (srtt && (flags & NETWORK_RTT))
		sonde_observe(&network_histograms, slot, NETWORK_ROUND_TRIP, (uint64_t)srtt * 125);
	return 0;
}

/* If the agent sees every process, older sockets are known from their descriptors (network_seed). */
SEC("tp_btf/tcp_probe")
int BPF_PROG(network_probe, struct sock *sk)
{
	return network_segment(sk, NETWORK_RTT);
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(network_probe_and_find, struct sock *sk)
{
	return network_segment(sk, NETWORK_RTT | NETWORK_BY_SOCKET);
}

#endif
