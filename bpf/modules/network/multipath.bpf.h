/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Multipath TCP (RFC 8684): the application has one socket, below which each path has a socket of TCP that it never sees.
 * Payload is that of the application's socket: what goes over a second path again is in it once. Segments, retransmits
 * and round trips are those of the paths. The first path's handshake is the connection's; those that join are none. */
#ifndef SONDE_NETWORK_MULTIPATH_H
#define SONDE_NETWORK_MULTIPATH_H

#include "charge.bpf.h"

enum network_path {
	NETWORK_ONLY_PATH = 0, /* plain TCP; or the application's socket, which is no path */
	NETWORK_FIRST_PATH,    /* whose handshake is that of the connection */
	NETWORK_JOINED_PATH,
};

/* Fields of sockets that BPF has no type of their own for: a plain load where the kernel casts, else a copy. */
#define network_field(pointer, type, field)                                                            \
	({                                                                                             \
		typeof(((type *)0)->field) network_value = 0;                                          \
		if (sonde_have_cast)                                                                   \
			network_value = sonde_cast(pointer, type)->field;                              \
		else                                                                                   \
			bpf_core_read(&network_value, sizeof(network_value), &((type *)(pointer))->field); \
		network_value;                                                                         \
	})

sonde_inline bool network_is_multipath(const struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_MPTCP && bpf_core_field_exists(struct mptcp_sock, write_seq);
}

/* Is this socket of TCP a path of a connection of several? */
sonde_inline bool network_is_path(const struct tcp_sock *tcp)
{
	return bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp;
}

sonde_slow uint32_t network_path_of(struct tcp_sock *tcp)
{
	struct mptcp_subflow_context *path;

	if (!tcp || !network_is_path(tcp))
		return NETWORK_ONLY_PATH;
	path = (struct mptcp_subflow_context *)tcp->inet_conn.icsk_ulp_data;
	if (BPF_CORE_READ_BITFIELD_PROBED(path, request_join) || BPF_CORE_READ_BITFIELD_PROBED(path, mp_join))
		return NETWORK_JOINED_PATH;
	return NETWORK_FIRST_PATH;
}

/* The application's socket above a path (mptcp_sock_graft()); 0: not known, or closed. */
sonde_inline struct sock *network_above(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;
	struct sock *above = socket ? socket->sk : 0;

	return above && above->sk_protocol == IPPROTO_MPTCP ? above : 0;
}

sonde_inline uint64_t network_multipath_sent(struct sock *sk)
{
	return network_field(sk, struct mptcp_sock, write_seq);
}

sonde_inline uint64_t network_multipath_acknowledged(struct sock *sk)
{
	return network_field(sk, struct mptcp_sock, snd_una);
}

sonde_inline bool network_awaits_fin(const struct sock *sk)
{
	int state = sk->__sk_common.skc_state;

	return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2;
}

#define RCV_SHUTDOWN 1 /* include/net/sock.h */

/* Linux 6.5 and later count it. Earlier ones have the sequence number only, in which the FIN counts as one. Where the peer
 * knows plain TCP only, the numbers begin at 0, and each change of the path's state notes the present one as that of the FIN,
 * even after the FIN (mptcp_update_rcv_data_fin()): then they are equal. */
sonde_inline uint64_t network_multipath_received(struct sock *sk)
{
	uint64_t next, end;
	bool noted;

	if (bpf_core_field_exists(struct mptcp_sock, bytes_received))
		return network_field(sk, struct mptcp_sock, bytes_received);
	next = network_field(sk, struct mptcp_sock, ack_seq);
	end = network_field(sk, struct mptcp_sock, rcv_data_fin_seq);
	noted = end || sk->sk_shutdown & RCV_SHUTDOWN;
	return next - (noted && next && (next == end + 1 || (next == end && !network_awaits_fin(sk))));
}

#endif
