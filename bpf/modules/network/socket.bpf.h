/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel itself counts at each TCP socket, brought into the rows of its subject.
 *
 * transmit  bytes that the application has handed over: bytes_acked + (write_seq - snd_una), less the SYN of a client and,
 *           by looking no more once it is to be sent, the FIN
 * receive   bytes that came in order: bytes_received, less the FIN
 *
 * Of a connection over several paths (Multipath TCP) its own socket has the payload (multipath.bpf.h), those of the paths have
 * the segments.
 *
 * Nothing is attached to sending or receiving. The sockets are gone through at each collection, and each is looked at
 * when its state changes to one in which nothing more can come. How far a socket is accounted for is kept at it;
 * whoever advances that by compare-and-swap counts the difference, so nothing is counted twice. */
#ifndef SONDE_NETWORK_SOCKET_H
#define SONDE_NETWORK_SOCKET_H

#include "charge.bpf.h"
#include "multipath.bpf.h"

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
	uint8_t path;    /* enum network_path */
	uint16_t error;  /* reported while it was connecting */
	uint32_t begins; /* epoch that somebody begins it for: one does */
	uint32_t pass;   /* through all sockets in which it was last visited */
	struct network_thread connects;
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
static uint32_t network_since; /* jiffies, low bits: programs attached, or subjects selected, the last time */

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

/* What is on its way and not acknowledged was handed over after we had begun to look, if nothing was on its way then
 * (tcp_chrono_start() notes when the queues have filled). In the same jiffy it may have been before. */
sonde_inline uint32_t network_under_way(const struct tcp_sock *tcp)
{
	if (BPF_CORE_READ_BITFIELD(tcp, chrono_type) != TCP_CHRONO_BUSY)
		return 0;
	return (int32_t)(tcp->chrono_start - network_since) > 0 ? tcp->write_seq - tcp->snd_una : 0;
}

/* Of several who find a socket that is older than we one begins with it. */
sonde_inline bool network_may_begin(struct network_socket *note)
{
	uint32_t before = *(volatile uint32_t *)&note->begins, epoch = network_epoch;

	return before != epoch && __sync_val_compare_and_swap(&note->begins, before, epoch) == before;
}

/* Last: from now on others may count. */
sonde_inline void network_begun(struct network_socket *note)
{
	__sync_lock_test_and_set(&note->epoch, network_epoch);
}

/* From here on it is counted; what was before is not. */
sonde_slow int network_begin_socket(struct network_socket *note, struct tcp_sock *tcp, int state)
{
	if (!note || !tcp || !network_may_begin(note))
		return 0;
	note->offset = (uint32_t)tcp->bytes_acked - tcp->snd_una;
	note->sent = network_sent(tcp, note->offset) - network_under_way(tcp);
	note->received = network_received(tcp, false);
	note->segments_in = tcp->segs_in;
	note->segments_out = tcp->segs_out;
	note->closed = network_sends_no_more(state);
	note->fresh = 0;
	note->path = network_path_of(tcp);
	network_begun(note);
	return 0;
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

/* What has moved since it was looked at; `sent` and `received` were read before the socket's own figures. */
sonde_inline void network_count_bytes(struct network_socket *note, uint64_t sent, uint64_t sent_now, uint64_t received,
				      uint64_t received_now, uint32_t slot, uint32_t flags)
{
	if (!note->closed && network_advance(&note->sent, sent, sent_now) && (flags & NETWORK_TCP_IO))
		sonde_count(&network_counters, slot, NETWORK_TCP_TRANSMIT, sent_now - sent);
	if (network_advance(&note->received, received, received_now) && (flags & NETWORK_TCP_IO))
		sonde_count(&network_counters, slot, NETWORK_TCP_RECEIVE, received_now - received);
}

/* A subject that is not measured counts nothing, but its sockets are kept up to date: what happens meanwhile is not to be
 * made up for later. `shared`: its lock is not ours. */
sonde_slow int network_account(struct network_socket *note, struct tcp_sock *tcp, uint32_t slot, uint32_t flags, bool shared)
{
	uint64_t sent, received;
	uint32_t in, out, segments;

	if (!note || !tcp)
		return 0;
	sent = *(volatile uint64_t *)&note->sent;
	received = *(volatile uint64_t *)&note->received;
	in = *(volatile uint32_t *)&note->segments_in;
	out = *(volatile uint32_t *)&note->segments_out;
	if (!note->fresh && note->path == NETWORK_ONLY_PATH)
		network_count_bytes(note, sent, network_sent(tcp, note->offset), received, network_received(tcp, shared), slot,
				    flags);
	segments = tcp->segs_in;
	if (network_advance_segments(&note->segments_in, in, segments) && (flags & NETWORK_DETAIL))
		sonde_count(&network_counters, slot, NETWORK_SEGMENTS_RECEIVE, segments - in);
	segments = tcp->segs_out;
	if (network_advance_segments(&note->segments_out, out, segments) && (flags & NETWORK_DETAIL))
		sonde_count(&network_counters, slot, NETWORK_SEGMENTS_TRANSMIT, segments - out);
	return 0;
}

/* The same for the socket of a connection over several paths. `under_way`: of its only path, 0 if not known. */
sonde_slow int network_begin_multipath(struct network_socket *note, struct sock *sk, int state, uint32_t under_way)
{
	uint64_t sent, pending;

	if (!note || !sk || !network_may_begin(note))
		return 0;
	sent = network_multipath_sent(sk);
	pending = sent - network_multipath_acknowledged(sk);
	note->sent = pending <= under_way ? sent - pending : sent;
	note->received = network_multipath_received(sk);
	note->closed = network_sends_no_more(state);
	note->fresh = 0;
	note->path = NETWORK_ONLY_PATH;
	network_begun(note);
	return 0;
}

sonde_slow int network_account_multipath(struct network_socket *note, struct sock *sk, uint32_t slot, uint32_t flags)
{
	uint64_t sent, received;

	if (!note || !sk || note->fresh)
		return 0;
	sent = *(volatile uint64_t *)&note->sent;
	received = *(volatile uint64_t *)&note->received;
	network_count_bytes(note, sent, network_multipath_sent(sk), received, network_multipath_received(sk), slot, flags);
	return 0;
}

#endif
