/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets of sockets, seen at the root of the cgroup tree: on their way out after routing and before they are cut into
 * fragments, on their way in when their socket is found. Each passes once, is never changed and always let through. */
#ifndef SONDE_NETWORK_PACKETS_H
#define SONDE_NETWORK_PACKETS_H

#include "charge.bpf.h"
#include "socket.bpf.h"

#define LET_THROUGH 1
#define UDP_HEADER 8

#define NETWORK_MOST_EXTENSIONS 8 /* headers of IPv6 between the first and that of the protocol */

struct network_packet {
	uint32_t protocol; /* 0: not known */
	uint32_t header;   /* where its header is */
};

/* RFC 8200, 4302. Fragments are put together before a packet comes here, and made after it. */
enum network_extension {
	NETWORK_HOP_BY_HOP = 0,
	NETWORK_ROUTING = 43,
	NETWORK_FRAGMENT = 44,
	NETWORK_AUTHENTICATION = 51,
	NETWORK_DESTINATION = 60,
	NETWORK_MOBILITY = 135,
};

sonde_inline bool network_is_extension(uint32_t header)
{
	return header == NETWORK_HOP_BY_HOP || header == NETWORK_ROUTING || header == NETWORK_FRAGMENT ||
	       header == NETWORK_AUTHENTICATION || header == NETWORK_DESTINATION || header == NETWORK_MOBILITY;
}

sonde_slow int network_step_over(struct __sk_buff *skb, struct network_packet *packet)
{
	uint8_t next[2];
	int i;

	if (!packet)
		return 0;
	for (i = 0; i < NETWORK_MOST_EXTENSIONS && network_is_extension(packet->protocol); i++) {
		if (bpf_skb_load_bytes(skb, packet->header, next, sizeof(next)))
			break;
		if (packet->protocol == NETWORK_FRAGMENT)
			packet->header += 8;
		else if (packet->protocol == NETWORK_AUTHENTICATION)
			packet->header += (next[1] + 2) * 4;
		else
			packet->header += (next[1] + 1) * 8;
		packet->protocol = next[0];
	}
	return 0;
}

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
		if (network_is_extension(packet.protocol))
			network_step_over(skb, &packet);
	}
	return packet;
}

/* UDP-Lite has ports and length where UDP has them. */
sonde_inline bool network_is_udp(const struct network_packet *packet)
{
	return packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE;
}

/* Of a socket of that protocol? Raw sockets see what comes for others, too, and send what they like. */
sonde_inline bool network_is_of_socket(struct __sk_buff *skb, const struct network_packet *packet)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	return sk && sk->type != SOCK_RAW && sk->protocol == packet->protocol;
}

/* Programs at cgroups below the root have been asked before ours, and one of them refuses it: the kernel keeps the verdict
 * where the run itself is described, until all have been asked. A program at the root behind ours is not known yet. */
sonde_inline bool network_is_refused(void)
{
	struct task_struct *task;
	int result = 0;

	if (!bpf_core_field_exists(struct bpf_cg_run_ctx, retval) || !bpf_core_field_exists(struct task_struct, bpf_ctx))
		return false;
	task = bpf_get_current_task_btf();
	if (sonde_have_cast)
		result = sonde_cast(task->bpf_ctx, struct bpf_cg_run_ctx)->retval;
	else
		bpf_core_read(&result, sizeof(result), &((struct bpf_cg_run_ctx *)task->bpf_ctx)->retval);
	return result < 0;
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
	if (!(flags & NETWORK_UDP) || skb->len < headers || !network_is_of_socket(skb, packet) || network_is_refused())
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
	else if (network_is_udp(&packet))
		network_datagrams(skb, &packet, false);
	return LET_THROUGH;
}

SEC("cgroup_skb/egress")
int network_packet_out(struct __sk_buff *skb)
{
	struct network_packet packet = network_parse(skb);

	if (network_is_udp(&packet))
		network_datagrams(skb, &packet, true);
	return LET_THROUGH;
}

#endif
