/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What user space runs. The iterators over descriptors see what the agent's pid namespace shows, that over our own
 * notes all sockets that have one. */
#ifndef SONDE_NETWORK_ITERATE_H
#define SONDE_NETWORK_ITERATE_H

#include "connection.h"

/* Before the programs are attached: notes at sockets are of an earlier epoch now. */
SEC("raw_tp")
int network_begin(void *ctx)
{
	network_epoch++;
	return 0;
}

sonde_inline bool network_has_connection(int state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 ||
	       state == TCP_CLOSING || state == TCP_LAST_ACK;
}

/* Connections that are older than the epoch or than their selection begin to count here. */
SEC("iter/task_file")
int network_seed(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct network_socket *note;
	struct socket *socket;
	struct tcp_sock *tcp;
	struct sock *sk;
	uint8_t flags;
	int state;

	if (!ctx->task || !file || !network_epoch)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	state = sk->__sk_common.skc_state;
	if (!network_has_connection(state))
		return 0;
	network_charge_socket(sk, &flags);
	if (!(flags & NETWORK_BY_SOCKET))
		return 0;
	note = network_note(sk, false);
	if (note && note->epoch == network_epoch)
		return 0;
	tcp = bpf_skc_to_tcp_sock(sk);
	note = tcp ? network_note(sk, true) : 0;
	if (note)
		network_begin_socket(note, tcp, state);
	return 0;
}

/* Before a collection: what has moved at each socket, and how many have a connection (as CurrEstab of /proc/net/snmp). */
SEC("iter/bpf_sk_storage_map")
int network_flush(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct network_socket *note = ctx->value;
	struct sock *sk = ctx->sk;
	struct tcp_sock *tcp;
	uint32_t slot;
	uint8_t flags;
	int64_t *row;
	int state;

	if (!sk || !note || !network_epoch)
		return 0;
	state = sk->__sk_common.skc_state;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp || !network_has_connection(state))
		return 0;
	if (note->epoch != network_epoch) {
		network_begin_socket(note, tcp, state);
	} else {
		slot = network_charge_socket(sk, &flags);
		network_account(note, tcp, slot, flags, true);
		row = bpf_map_lookup_elem(&network_gauges, &slot);
		if (row && (flags & NETWORK_DETAIL) && (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT))
			__sync_fetch_and_add(&row[NETWORK_OPEN_NEXT], 1);
	}
	return 0;
}

#endif
