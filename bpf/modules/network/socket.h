/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel itself counts at each TCP socket, brought into the rows of its subject.
 *
 * transmit  bytes that the application has handed over: bytes_acked + (write_seq - snd_una), less the SYN of a client and,
 *           by looking no more once it is to be sent, the FIN
 * receive   bytes that came in order: bytes_received, less the FIN
 *
 * Nothing is attached to sending or receiving. The sockets are gone through at each collection, and each is looked at
 * when its state changes to one in which nothing more can come. How far a socket is accounted for is kept at it;
 * whoever advances that by compare-and-swap counts the difference, so nothing is counted twice. */
#ifndef SONDE_NETWORK_SOCKET_H
#define SONDE_NETWORK_SOCKET_H

#include "charge.h"

enum network_role { NETWORK_NO_ROLE = 0, NETWORK_CLIENT, NETWORK_SERVER };

struct network_socket {
	uint64_t connect_ns; /* connect() in progress since, CLOCK_MONOTONIC; 0: none */
	uint64_t sent;       /* accounted for, as network_sent() says it */
	uint64_t received;   /* likewise, network_received() */
	uint32_t segments_out;
	uint32_t segments_in;
	uint32_t offset; /* bytes_acked - snd_una, low bits: the same throughout a connection */
	uint32_t epoch;  /* the programs were attached that often when this was begun */
	uint8_t role;    /* enum network_role */
	uint8_t fresh;   /* no connection yet: sent and received mean nothing */
	uint8_t closed;  /* nothing more will be sent but the FIN */
	uint8_t begun;   /* its connect() has returned without an error */
	uint8_t failed;  /* it failed before that, and is counted */
	uint8_t reserved;
	uint16_t error;  /* reported while it was connecting */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct network_socket);
} network_sockets SEC(".maps");

SONDE_ROWS(network, NETWORK_COUNTERS, NETWORK_HISTOGRAMS);
SONDE_GAUGE_ROWS(network, NETWORK_GAUGES);

static uint32_t network_epoch; /* 0: the programs have not been attached yet */

#define SOCK_DONE_BIT 1 /* enum sock_flags, SOCK_DONE: the FIN has come */

/* Is somebody working on it? Then what is read of it may not fit together. */
sonde_inline bool network_is_locked(const struct sock *sk)
{
	if (sk->sk_lock.owned)
		return true;
	if (!bpf_core_field_exists(sk->sk_lock.slock.rlock.raw_lock.val.counter))
		return true; /* PREEMPT_RT */
	return sk->sk_lock.slock.rlock.raw_lock.val.counter != 0;
}

/* The 64-bit sum of several fields; its low bits from write_seq alone, so that it is right however the rest is torn. */
sonde_inline uint64_t network_sent(const struct tcp_sock *tcp, uint32_t offset)
{
	uint32_t write_seq = tcp->write_seq;
	uint64_t sum = tcp->bytes_acked + (uint32_t)(write_seq - tcp->snd_una);

	return sum + (int64_t)(int32_t)(write_seq + offset - (uint32_t)sum);
}

/* While somebody else works on the socket a FIN may be in bytes_received that its flags do not show yet: `shared` takes
 * one off, for the time being. */
sonde_inline uint64_t network_received(const struct tcp_sock *tcp, bool shared)
{
	const struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	uint64_t bytes = *(volatile uint64_t *)&tcp->bytes_received;
	bool working = shared && network_is_locked(sk);

	return bytes - (working || (sk->__sk_common.skc_flags >> SOCK_DONE_BIT & 1));
}

sonde_inline bool network_sends_no_more(int state)
{
	return state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT && state != TCP_SYN_RECV && state != TCP_SYN_SENT;
}

/* From here on it is counted; what was before is not. */
sonde_inline void network_begin_socket(struct network_socket *note, const struct tcp_sock *tcp, int state)
{
	note->offset = (uint32_t)tcp->bytes_acked - tcp->snd_una;
	note->sent = network_sent(tcp, note->offset);
	note->received = network_received(tcp, true);
	note->segments_in = tcp->segs_in;
	note->segments_out = tcp->segs_out;
	note->closed = network_sends_no_more(state);
	note->fresh = 0;
	note->epoch = network_epoch;
}

/* True for the one who may count what lies between. */
sonde_inline bool network_advance(uint64_t *place, uint64_t before, uint64_t now)
{
	return (int64_t)(now - before) > 0 && __sync_val_compare_and_swap(place, before, now) == before;
}

sonde_inline bool network_advance_segments(uint32_t *place, uint32_t before, uint32_t now)
{
	return (int32_t)(now - before) > 0 && __sync_val_compare_and_swap(place, before, now) == before;
}

/* What has moved at this socket since it was looked at. A subject that is not measured counts nothing, but its sockets
 * are kept up to date: what happens meanwhile is not to be made up for later. `shared`: its lock is not ours. */
sonde_slow int network_account(struct network_socket *note, struct tcp_sock *tcp, uint32_t slot, uint32_t flags, bool shared)
{
	uint64_t sent, received, now;
	uint32_t in, out, segments;

	if (!note || !tcp)
		return 0;
	sent = *(volatile uint64_t *)&note->sent; /* before the socket's own figures */
	received = *(volatile uint64_t *)&note->received;
	in = *(volatile uint32_t *)&note->segments_in;
	out = *(volatile uint32_t *)&note->segments_out;
	if (!note->fresh) {
		now = network_sent(tcp, note->offset);
		if (!note->closed && network_advance(&note->sent, sent, now) && (flags & NETWORK_TCP_IO))
			sonde_count(&network_counters, slot, NETWORK_TCP_TRANSMIT, now - sent);
		now = network_received(tcp, shared);
		if (network_advance(&note->received, received, now) && (flags & NETWORK_TCP_IO))
			sonde_count(&network_counters, slot, NETWORK_TCP_RECEIVE, now - received);
	}
	segments = tcp->segs_in;
	if (network_advance_segments(&note->segments_in, in, segments) && (flags & NETWORK_DETAIL))
		sonde_count(&network_counters, slot, NETWORK_SEGMENTS_RECEIVE, segments - in);
	segments = tcp->segs_out;
	if (network_advance_segments(&note->segments_out, out, segments) && (flags & NETWORK_DETAIL))
		sonde_count(&network_counters, slot, NETWORK_SEGMENTS_TRANSMIT, segments - out);
	return 0;
}

#endif
