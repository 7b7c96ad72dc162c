/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What user space runs. The iterators over descriptors see what the agent's pid namespace shows, that over our own
 * notes all sockets that have one. */
#ifndef SONDE_NETWORK_ITERATE_H
#define SONDE_NETWORK_ITERATE_H

#include "connection.bpf.h"

/* Before the programs are attached: notes at sockets are of an earlier epoch now. */
SEC("raw_tp")
int network_begin(void *ctx)
{
	network_epoch++;
	network_since = (uint32_t)bpf_jiffies64();
	return 0;
}

/* Before more subjects are selected. */
SEC("raw_tp")
int network_select(void *ctx)
{
	network_since = (uint32_t)bpf_jiffies64();
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
	if (!sk || (sk->sk_protocol != IPPROTO_TCP && !network_is_multipath(sk)))
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
	if (sk->sk_protocol != IPPROTO_TCP) {
		network_begin_multipath(network_note(sk, true), sk, state, 0);
		return 0;
	}
	tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp)
		network_begin_socket(network_note(sk, true), tcp, state);
	return 0;
}

static uint32_t network_pass; /* through all sockets; user space raises it before each */

#define SK_USER_DATA_PSOCK_BIT 4 /* include/net/sock.h, since 6.0 */

/* In a sockmap a program may pass what is sent straight to another socket: TCP never sees it. */
sonde_inline void network_note_bypass(const struct sock *sk, uint32_t slot, uint32_t flags)
{
	int64_t *row;

	if (!((unsigned long)sk->sk_user_data & SK_USER_DATA_PSOCK_BIT) || !(flags & NETWORK_TCP_IO))
		return;
	row = bpf_map_lookup_elem(&network_gauges, &slot);
	if (row)
		row[NETWORK_BYPASSED] = 1;
}

/* What has moved at this socket, and whether it has a connection (as CurrEstab of /proc/net/snmp, but one that goes by
 * several paths is one). */
sonde_slow int network_visit(struct network_socket *note, struct sock *sk)
{
	struct tcp_sock *tcp;
	uint32_t slot;
	uint8_t flags;
	int64_t *row;
	int state;

	if (!sk || !note || !network_epoch)
		return 0;
	state = sk->__sk_common.skc_state;
	if (!network_has_connection(state))
		return 0;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp && !network_is_multipath(sk))
		return 0;
	if (note->epoch != network_epoch) {
		if (tcp)
			network_begin_socket(note, tcp, state);
		else
			network_begin_multipath(note, sk, state, 0);
		return 0;
	}
	slot = network_charge_socket(sk, &flags);
	if (tcp)
		network_account(note, tcp, slot, flags, true);
	else
		network_account_multipath(note, sk, slot, flags);
	network_note_bypass(sk, slot, flags);
	if (note->path != NETWORK_ONLY_PATH || !(flags & NETWORK_DETAIL) || note->pass == network_pass)
		return 0;
	note->pass = network_pass;
	row = bpf_map_lookup_elem(&network_gauges, &slot);
	if (row && (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT))
		__sync_fetch_and_add(&row[NETWORK_OPEN_NEXT], 1);
	return 0;
}

SEC("raw_tp")
int network_next_pass(void *ctx)
{
	network_pass++;
	return 0;
}

/* Before a collection: all sockets that have a note. */
SEC("iter/bpf_sk_storage_map")
int network_flush(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return network_visit(ctx->value, ctx->sk);
}

/* Where the kernel refuses iterators over maps: all that have a descriptor, which takes longer. A socket that several
 * processes have comes several times. */
SEC("iter/task_file")
int network_flush_files(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	if (!ctx->task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || (sk->sk_protocol != IPPROTO_TCP && !network_is_multipath(sk)))
		return 0;
	return network_visit(network_note(sk, false), sk);
}

#endif
