/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets of sockets, seen at the root of the cgroup tree: on their way out after routing and before they are cut into
 * fragments, on their way in when their socket is found. Each passes once, is never changed and always let through. */
#ifndef SONDE_NETWORK_PACKETS_H
#define SONDE_NETWORK_PACKETS_H

#include "charge.h"
#include "socket.h"

#define LET_THROUGH 1
#define UDP_HEADER 8

struct network_packet {
	uint32_t protocol; /* 0: neither TCP nor UDP */
	uint32_t header;   /* where its header is */
};

/* IPv6 headers between the first and that of the protocol are not followed: they are rare, and fragments are put
 * together before a packet comes here. */
sonde_inline struct network_packet network_parse(struct __sk_buff *skb)
{
	struct network_packet packet = {};
	uint8_t *data = (uint8_t *)(long)skb->data, *end = (uint8_t *)(long)skb->data_end;

	if (data + 20 > end)
		return packet;
	if (data[0] >> 4 == 4) {
		packet.protocol = data[9];
		packet.header = (data[0] & 15) * 4;
	} else {
		packet.protocol = data[6];
		packet.header = 40;
	}
	return packet;
}

/* Would the kernel now count a ListenOverflow? It asks the same, right after this: of a SYN unless that is dropped
 * before because too many handshakes are under way, and of the segment that ends a handshake. */
sonde_inline void network_listener(struct __sk_buff *skb, const struct network_packet *packet)
{
	struct bpf_sock *listener = skb->sk;
	struct tcp_sock *tcp;
	struct sock *sk;
	uint32_t slot, most;
	uint8_t flags, bits;

	if (!listener || listener->state != BPF_TCP_LISTEN)
		return;
	tcp = bpf_skc_to_tcp_sock(listener);
	if (!tcp)
		return;
	sk = &tcp->inet_conn.icsk_inet.sk;
	most = sk->sk_max_ack_backlog;
	if (sk->sk_ack_backlog <= most)
		return;
	slot = network_charge_socket(sk, &flags);
	if (!(flags & NETWORK_TROUBLE) || bpf_skb_load_bytes(skb, packet->header + 13, &bits, sizeof(bits)))
		return;
	if (bits & 4) /* RST */
		return;
	if ((bits & 2) && !(bits & 16)) { /* SYN */
		if ((uint32_t)tcp->inet_conn.icsk_accept_queue.qlen.counter >= most &&
		    !sk->__sk_common.skc_net.net->ipv4.sysctl_tcp_syncookies)
			return;
	} else if (!(bits & 16)) {
		return;
	}
	sonde_count(&network_counters, slot, NETWORK_OVERFLOWS, 1);
}

/* Several datagrams that travel as one (UDP_SEGMENT, UDP_GRO) have one header. */
sonde_inline void network_datagrams(struct __sk_buff *skb, const struct network_packet *packet, bool out)
{
	uint32_t headers = packet->header + UDP_HEADER, bytes = skb->len - headers, datagrams = skb->gso_segs, slot;
	uint8_t flags;

	slot = network_charge(bpf_skb_cgroup_id(skb), &flags);
	if (!(flags & NETWORK_UDP) || skb->len < headers)
		return;
	if (!datagrams)
		datagrams = 1;
	if (out) {
		sonde_count(&network_counters, slot, NETWORK_UDP_TRANSMIT, bytes);
		sonde_count(&network_counters, slot, NETWORK_DATAGRAMS_TRANSMIT, datagrams);
	} else {
		sonde_count(&network_counters, slot, NETWORK_UDP_RECEIVE, bytes);
		sonde_count(&network_counters, slot, NETWORK_DATAGRAMS_RECEIVE, datagrams);
	}
}

SEC("cgroup_skb/ingress")
int network_packet_in(struct __sk_buff *skb)
{
	struct network_packet packet = network_parse(skb);

	if (packet.protocol == IPPROTO_TCP)
		network_listener(skb, &packet);
	else if (packet.protocol == IPPROTO_UDP)
		network_datagrams(skb, &packet, false);
	return LET_THROUGH;
}

SEC("cgroup_skb/egress")
int network_packet_out(struct __sk_buff *skb)
{
	struct network_packet packet = network_parse(skb);

	if (packet.protocol == IPPROTO_UDP)
		network_datagrams(skb, &packet, true);
	return LET_THROUGH;
}

#endif
