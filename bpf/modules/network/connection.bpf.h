/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The life of a connection, by the changes of its state. The socket is locked by whoever makes them. */
#ifndef SONDE_NETWORK_CONNECTION_H
#define SONDE_NETWORK_CONNECTION_H

#include "socket.bpf.h"

/* include/uapi/asm-generic/errno.h; x86 and arm64 have these in common */
#define EPIPE 32
#define ENETUNREACH 101
#define ECONNRESET 104
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define ECANCELED 125
#define EHOSTUNREACH 113

sonde_inline uint32_t network_error_of(int error)
{
	switch (error) {
	case ECONNREFUSED: return NETWORK_REFUSED;
	case ECONNRESET:
	case EPIPE: return NETWORK_RESET; /* EPIPE: reset after the FIN had come */
	case ETIMEDOUT: return NETWORK_TIMED_OUT;
	case EHOSTUNREACH: return NETWORK_HOST_UNREACHABLE;
	case ENETUNREACH: return NETWORK_NET_UNREACHABLE;
	}
	return NETWORK_OTHER_ERROR;
}

sonde_slow int network_count_error(uint32_t slot, uint32_t role, int error)
{
	uint32_t type = network_error_of(error), place;
	uint64_t *row = bpf_map_lookup_elem(&network_counters, &slot);

	/* An established connection cannot be refused, and what a router says of it comes out as a time-out. */
	if (role == NETWORK_SERVER && type != NETWORK_RESET && type != NETWORK_TIMED_OUT)
		type = NETWORK_OTHER_ERROR;
	place = (role == NETWORK_SERVER ? NETWORK_SERVER_ERROR : NETWORK_CLIENT_ERROR) + type;
	if (row && place < NETWORK_COUNTERS)
		__sync_fetch_and_add(&row[place], 1);
	return 0;
}

/* Of a connection whose beginning nobody saw: the side with the lower port is the server's, as a rule. */
sonde_inline uint32_t network_guess_role(const struct sock *sk)
{
	return sk->__sk_common.skc_num < bpf_ntohs(sk->__sk_common.skc_dport) ? NETWORK_SERVER : NETWORK_CLIENT;
}

sonde_inline struct network_socket *network_note(struct sock *sk, bool make)
{
	struct network_socket *note =
		bpf_sk_storage_get(&network_sockets, sk, 0, make ? BPF_SK_STORAGE_GET_F_CREATE : 0);

	if (!note && make)
		sonde_lose(SONDE_LOSS_TASK_STORAGE, 1);
	return note;
}

sonde_inline void network_connecting(struct sock *sk, uint32_t slot)
{
	struct network_socket *note = network_note(sk, true);

	if (!note)
		return;
	__builtin_memset(note, 0, sizeof(*note)); /* a socket can connect again after it was disconnected */
	note->role = NETWORK_CLIENT;
	note->fresh = 1;
	note->begins = network_epoch;
	note->epoch = network_epoch;
	network_note_thread(&note->connects, slot, SONDE_SPAN_CONNECT);
	note->connect_ns = bpf_ktime_get_ns();
}

/* A port that nobody listens at is no failure worth a span: it is asked again and again until somebody does. */
sonde_inline bool network_connect_due(uint32_t slot, uint64_t ns, int error)
{
	return sonde_span_due(slot, SONDE_SPAN_CONNECT, ns, error && error != ECONNREFUSED);
}

#define NETWORK_CONNECT_END(slot, error) ((slot) | (uint64_t)(error) << 32)

sonde_slow int network_send_connect(struct sock *sk, struct network_socket *note, uint64_t begin, uint64_t slot_and_error,
				    uint64_t end)
{
	struct sonde_span *span;
	uint16_t family;

	if (!sk || !note)
		return 0;
	span = sonde_span_begin(slot_and_error, SONDE_SPAN_CONNECT, begin, end, slot_and_error >> 32);
	if (!span)
		return 0;
	network_span_of(span, &note->connects);
	family = sk->__sk_common.skc_family;
	span->transport = IPPROTO_TCP;
	span->family = family;
	span->port = bpf_ntohs(sk->__sk_common.skc_dport);
	if (family == AF_INET)
		bpf_probe_read_kernel(span->address, 4, &sk->__sk_common.skc_daddr);
	else
		bpf_probe_read_kernel(span->address, sizeof(span->address), &sk->__sk_common.skc_v6_daddr);
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* The end of a connect(), good or bad. `error`: 0 if there is a connection. */
sonde_inline void network_connected(struct sock *sk, struct network_socket *note, uint32_t slot, uint32_t flags, int error)
{
	uint64_t begin = note && note->epoch == network_epoch ? note->connect_ns : 0, ns;

	if (note)
		note->connect_ns = 0;
	if (!(flags & NETWORK_CONNECTIONS))
		return;
	if (!begin) {
		sonde_lose(SONDE_LOSS_UNSEEN_ENTRY, 1);
		return;
	}
	ns = bpf_ktime_get_ns() - begin;
	sonde_observe(&network_histograms, slot, NETWORK_CONNECT, ns);
	if (network_connect_due(slot, ns, error))
		network_send_connect(sk, note, begin, NETWORK_CONNECT_END(slot, error), begin + ns);
}

/* A segment for a socket without a note of this epoch, or its end: it is older than we, or than its selection. */
sonde_slow int network_find(struct sock *sk, struct tcp_sock *tcp, int state)
{
	struct network_socket *note;
	struct sock *above;

	if (!sk || !tcp)
		return 0;
	note = network_note(sk, true);
	network_begin_socket(note, tcp, state);
	if (!note || note->path == NETWORK_ONLY_PATH)
		return 0;
	above = network_above(sk);
	if (above)
		network_begin_multipath(network_note(above, true), above, above->__sk_common.skc_state, network_under_way(tcp));
	return 0;
}

sonde_slow int network_established(struct sock *sk, struct tcp_sock *tcp, int before, uint32_t slot, uint32_t flags)
{
	struct network_socket *note;
	uint32_t path;
	bool client, restored;

	if (!sk || !tcp)
		return 0;
	path = network_path_of(tcp);
	restored = BPF_CORE_READ_BITFIELD(tcp, repair); /* TCP_REPAIR: no handshake, it was opened elsewhere */
	note = network_note(sk, flags & NETWORK_SOCKETS);
	client = before == TCP_SYN_SENT || (note && note->role == NETWORK_CLIENT);
	if (client && path != NETWORK_JOINED_PATH && !restored)
		network_connected(sk, note, slot, flags, 0);
	if (note) { /* all of it counts: what was sent or has come with the handshake, too (TCP Fast Open) */
		note->connect_ns = 0;
		note->offset = (uint32_t)tcp->bytes_acked - tcp->snd_una;
		note->sent = restored ? network_sent(tcp, note->offset) : client; /* a client's SYN is the first byte */
		note->received = restored ? network_received(tcp, false) : 0;
		note->closed = 0;
		note->fresh = 0;
		note->path = path;
		note->role = restored ? NETWORK_NO_ROLE : client ? NETWORK_CLIENT : NETWORK_SERVER;
		note->begins = network_epoch;
		note->epoch = network_epoch;
	}
	if (!(flags & NETWORK_CONNECTIONS) || path == NETWORK_JOINED_PATH || restored)
		return 0;
	if (client)
		sonde_count(&network_counters, slot, NETWORK_OPENED_CLIENT, 1);
	else
		sonde_count(&network_counters, slot, NETWORK_OPENED_SERVER, 1);
	return 0;
}

/* A path's end is no error of the connection if that goes on by other paths, or has ended well. */
sonde_inline bool network_ends_alone(struct sock *sk, uint32_t path)
{
	struct sock *above;

	if (path == NETWORK_JOINED_PATH)
		return true;
	if (path == NETWORK_ONLY_PATH)
		return false;
	above = network_above(sk);
	return !above || above->__sk_common.skc_state == TCP_CLOSE;
}

sonde_slow int network_ended(struct sock *sk, struct tcp_sock *tcp, int before, uint32_t slot, uint32_t flags)
{
	struct network_socket *note;
	bool connecting;
	uint32_t path;
	int error;

	if (!sk || !tcp || before == TCP_LISTEN)
		return 0;
	error = sk->sk_err;
	note = network_note(sk, false);
	path = network_path_of(tcp);
	if (note && note->epoch == network_epoch)
		network_account(note, tcp, slot, flags, false);
	if (!error && note && note->fresh)
		error = note->error;
	connecting = before == TCP_SYN_SENT || (note && note->fresh);
	if (connecting) {
		if (before != TCP_SYN_SENT && before != TCP_SYN_RECV)
			return 0;
		if (path == NETWORK_JOINED_PATH)
			return 0;
		network_connected(sk, note, slot, flags, error ? error : ECANCELED);
		if (note)
			note->failed = !note->begun;
		if (flags & NETWORK_CONNECTIONS)
			network_count_error(slot, NETWORK_CLIENT, error); /* 0: the application gave up */
	} else if (error && before != TCP_SYN_RECV && before != TCP_CLOSE && (flags & NETWORK_CONNECTIONS) &&
		   !network_ends_alone(sk, path)) {
		network_count_error(slot, note && note->role ? note->role : network_guess_role(sk), error);
	}
	if (note)
		note->fresh = 1;
	return 0;
}

/* Before 6.10 an error is announced before the state changes, and the application may have fetched it by then. */
SEC("fentry/sk_error_report")
int BPF_PROG(network_error_report, struct sock *sk)
{
	struct network_socket *note;

	if (sk->sk_protocol != IPPROTO_TCP || sk->__sk_common.skc_state != TCP_SYN_SENT)
		return 0;
	note = network_note(sk, false);
	if (note)
		note->error = sk->sk_err;
	return 0;
}

/* Since then an application that polls at this very moment can still be faster. */
SEC("fentry/tcp_done_with_error")
int BPF_PROG(network_done_with_error, struct sock *sk, int error)
{
	struct network_socket *note;

	if (sk->__sk_common.skc_state != TCP_SYN_SENT)
		return 0;
	note = network_note(sk, false);
	if (note)
		note->error = error;
	return 0;
}

/* The application's socket above the paths: only its payload is counted, the rest happens to its first path. */
sonde_slow int network_multipath_state(struct sock *sk, int after, uint32_t slot, uint32_t flags)
{
	struct network_socket *note;

	if (!sk)
		return 0;
	note = network_note(sk, after == TCP_ESTABLISHED && (flags & NETWORK_SOCKETS));
	if (!note)
		return 0;
	if (after == TCP_ESTABLISHED) {
		network_begin_multipath(note, sk, after, 0);
		return 0;
	}
	if (note->epoch == network_epoch)
		network_account_multipath(note, sk, slot, flags);
	note->closed = note->closed || network_sends_no_more(after);
	if (after == TCP_CLOSE) { /* it may connect again, with other numbers */
		note->epoch = 0;
		note->begins = 0;
	}
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(network_state, struct sock *sk, int before, int after)
{
	struct network_socket *note;
	struct tcp_sock *tcp;
	uint32_t slot;
	uint8_t flags;

	if (!network_epoch || (sk->sk_protocol != IPPROTO_TCP && !network_is_multipath(sk)))
		return 0;
	slot = network_charge_socket(sk, &flags);
	if (sk->sk_protocol != IPPROTO_TCP)
		return network_multipath_state(sk, after, slot, flags);
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return 0;
	switch (after) {
	case TCP_SYN_SENT:
		if (flags & NETWORK_SOCKETS)
			network_connecting(sk, slot);
		break;
	case TCP_ESTABLISHED:
		network_established(sk, tcp, before, slot, flags);
		break;
	case TCP_FIN_WAIT1: /* the application has closed its side; the FIN is not queued yet */
	case TCP_LAST_ACK:
		note = network_note(sk, false);
		if ((!note || note->epoch != network_epoch) && (flags & NETWORK_BY_SOCKET)) {
			network_find(sk, tcp, before);
			note = network_note(sk, false);
		}
		if (!note || note->fresh || note->epoch != network_epoch)
			break;
		network_account(note, tcp, slot, flags, false);
		note->closed = 1;
		break;
	case TCP_CLOSE:
		network_ended(sk, tcp, before, slot, flags);
		break;
	}
	return 0;
}

/* Of a connect() that took no time: the socket has nothing of it, what was asked has. struct sockaddr_in, sockaddr_in6. */
sonde_slow int network_send_refusal(uint32_t slot, struct sockaddr *asked, int error)
{
	uint64_t now = bpf_ktime_get_ns();
	struct sonde_span *span = sonde_span_begin(slot, SONDE_SPAN_CONNECT, now, now, error);
	uint16_t family = 0, port = 0;
	void *address = asked;

	if (!span)
		return 0;
	sonde_span_of(span, bpf_get_current_task_btf());
	bpf_probe_read_kernel(&family, sizeof(family), address);
	bpf_probe_read_kernel(&port, sizeof(port), address + 2);
	span->transport = IPPROTO_TCP;
	span->family = family;
	span->port = bpf_ntohs(port);
	if (family == AF_INET)
		bpf_probe_read_kernel(span->address, 4, address + 4);
	else
		bpf_probe_read_kernel(span->address, sizeof(span->address), address + 8);
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* A connect() that ends before it has begun: there is no route, or no address to send from. */
sonde_inline int network_connect_returned(struct sock *sk, struct sockaddr *address, int result)
{
	struct network_socket *note;
	uint32_t slot;
	uint8_t flags;

	if (!network_epoch)
		return 0;
	slot = network_charge_socket(sk, &flags);
	if (!(flags & NETWORK_CONNECTIONS))
		return 0;
	if (network_path_of(bpf_skc_to_tcp_sock(sk)) == NETWORK_JOINED_PATH)
		return 0;
	note = network_note(sk, false);
	if (note && !result)
		note->begun = 1;
	if (!result)
		return 0;
	if (note && note->failed) { /* it had begun: counted with its change of state */
		note->failed = 0;
		return 0;
	}
	sonde_observe(&network_histograms, slot, NETWORK_CONNECT, 0); /* it took no time */
	network_count_error(slot, NETWORK_CLIENT, -result);
	if (network_connect_due(slot, 0, -result))
		network_send_refusal(slot, address, -result);
	return 0;
}

SEC("fexit/tcp_v4_connect")
int BPF_PROG(network_connect_v4, struct sock *sk, struct sockaddr *address, int length, int result)
{
	if (sk->__sk_common.skc_family != AF_INET)
		return 0; /* called by tcp_v6_connect for an IPv4 address in IPv6 form */
	return network_connect_returned(sk, address, result);
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(network_connect_v6, struct sock *sk, struct sockaddr *address, int length, int result)
{
	return network_connect_returned(sk, address, result);
}

#endif
