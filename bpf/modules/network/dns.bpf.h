/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* DNS look-ups: from a question that leaves for port 53 to the answer with the same number on the same socket. Names are
 * stepped over, never kept. */
#ifndef SONDE_NETWORK_DNS_H
#define SONDE_NETWORK_DNS_H

#include "packets.bpf.h"

#define DNS_PORT 53
#define DNS_HEADER 12
#define DNS_MOST_LABELS 40  /* of a name whose type is looked for */
#define DNS_MOST_MESSAGES 4 /* in one segment of TCP */

struct network_question {
	uint64_t socket; /* cookie */
	uint32_t number;
	uint32_t reserved;
};

struct network_lookup {
	uint64_t begin_ns;
	uint64_t cgroup;
	uint32_t type; /* as in NETWORK_DNS_KEY */
	uint16_t family; /* of the server; 0: not noted */
	uint8_t transport;
	uint8_t reserved;
	uint8_t server[16];
	struct network_thread asks;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NETWORK_LOOKUPS);
	__type(key, struct network_question);
	__type(value, struct network_lookup);
} network_lookups SEC(".maps");

SONDE_KEYED_HISTOGRAM_ROWS(network);

struct dns_header {
	uint16_t number;
	uint16_t bits;
	uint16_t questions;
	uint16_t answers;
	uint16_t authorities;
	uint16_t additional;
};

/* Types with a name of their own in the export; whatever else containers make up is one, so that keys are bounded. */
sonde_inline uint32_t network_dns_known_type(uint32_t type)
{
	switch (type) {
	case NETWORK_DNS_A:
	case NETWORK_DNS_NS:
	case NETWORK_DNS_CNAME:
	case NETWORK_DNS_SOA:
	case NETWORK_DNS_PTR:
	case NETWORK_DNS_MX:
	case NETWORK_DNS_TXT:
	case NETWORK_DNS_AAAA:
	case NETWORK_DNS_SRV:
	case NETWORK_DNS_HTTPS: return type;
	}
	return NETWORK_DNS_OTHER_TYPE;
}

/* The type of the question at `offset`. */
sonde_inline uint32_t network_dns_type(struct __sk_buff *skb, uint32_t offset)
{
	uint8_t label = 0;
	uint16_t type = 0;
	int i;

	for (i = 0; i < DNS_MOST_LABELS; i++) {
		if (bpf_skb_load_bytes(skb, offset, &label, sizeof(label)) || label > 63)
			return NETWORK_DNS_OTHER_TYPE;
		offset += label + 1;
		if (!label)
			break;
	}
	if (label || bpf_skb_load_bytes(skb, offset, &type, sizeof(type)))
		return NETWORK_DNS_OTHER_TYPE;
	return network_dns_known_type(bpf_ntohs(type));
}

sonde_slow int network_send_lookup(const struct network_lookup *lookup, uint32_t slot, uint32_t outcome, uint64_t end)
{
	struct sonde_span *span;

	if (!lookup)
		return 0;
	span = sonde_span_begin(slot, SONDE_SPAN_DNS_LOOKUP, lookup->begin_ns, end, 0);
	if (!span)
		return 0;
	network_span_of(span, &lookup->asks);
	span->family = lookup->family;
	span->transport = lookup->transport;
	span->port = lookup->family ? DNS_PORT : 0;
	__builtin_memcpy(span->address, lookup->server, sizeof(span->address));
	span->detail = NETWORK_DNS_KEY(lookup->type, outcome);
	bpf_ringbuf_submit(span, 0);
	return 0;
}

/* A name that does not exist is an answer: most of them are asked on the way to one that does. */
sonde_inline bool network_dns_failed(uint32_t outcome)
{
	return outcome != NETWORK_DNS_ANSWERED && outcome != NETWORK_DNS_NAME_ERROR;
}

sonde_slow int network_dns_end(const struct network_lookup *lookup, uint32_t outcome, uint64_t now)
{
	uint32_t slot;
	uint8_t flags;

	if (!lookup)
		return 0;
	slot = network_charge(lookup->cgroup, &flags);
	if (!(flags & NETWORK_DNS))
		return 0;
	sonde_observe_key(&network_keyed, slot, NETWORK_DNS_KEY(lookup->type, outcome), now - lookup->begin_ns);
	if (sonde_span_due(slot, SONDE_SPAN_DNS_LOOKUP, now - lookup->begin_ns, network_dns_failed(outcome)))
		network_send_lookup(lookup, slot, outcome, now);
	return 0;
}

/* Where the question goes and which thread asks it; only needed for spans. */
sonde_slow int network_dns_note(struct __sk_buff *skb, struct network_lookup *lookup, uint32_t slot)
{
	uint8_t version = 0;

	if (!lookup || !sonde_span_threshold(slot, SONDE_SPAN_DNS_LOOKUP))
		return 0;
	network_note_thread(&lookup->asks, slot, SONDE_SPAN_DNS_LOOKUP);
	bpf_skb_load_bytes(skb, 0, &version, sizeof(version));
	if (version >> 4 == 4) {
		lookup->family = AF_INET;
		bpf_skb_load_bytes(skb, 9, &lookup->transport, sizeof(lookup->transport));
		bpf_skb_load_bytes(skb, 16, lookup->server, 4);
	} else {
		lookup->family = AF_INET6;
		bpf_skb_load_bytes(skb, 6, &lookup->transport, sizeof(lookup->transport));
		bpf_skb_load_bytes(skb, 24, lookup->server, sizeof(lookup->server));
	}
	return 0;
}

/* 1 if it is a question. One that is asked again under the same number is the same look-up. */
sonde_inline int network_dns_ask(struct __sk_buff *skb, uint32_t offset, const struct dns_header *header,
				 struct network_question *question)
{
	struct network_lookup lookup = {}, *before;
	uint64_t cgroup = bpf_skb_cgroup_id(skb);
	uint32_t slot;
	uint8_t flags;

	if (bpf_ntohs(header->bits) >> 11 || header->questions != bpf_htons(1) || header->answers)
		return 0; /* an answer, or no plain query */
	slot = network_charge(cgroup, &flags);
	if (!(flags & NETWORK_DNS))
		return 1;
	lookup.begin_ns = bpf_ktime_get_ns();
	before = bpf_map_lookup_elem(&network_lookups, question);
	if (before && lookup.begin_ns - before->begin_ns < NETWORK_DNS_TIMEOUT)
		return 1;
	if (before)
		network_dns_end(before, NETWORK_DNS_TIMED_OUT, before->begin_ns + NETWORK_DNS_TIMEOUT);
	lookup.cgroup = cgroup;
	lookup.type = network_dns_type(skb, offset + DNS_HEADER);
	network_dns_note(skb, &lookup, slot);
	if (bpf_map_update_elem(&network_lookups, question, &lookup, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 1;
}

/* 1 if it is an answer that somebody waits for. */
sonde_inline int network_dns_answer(const struct dns_header *header, const struct network_question *question)
{
	struct network_lookup *found, lookup;
	uint32_t code = bpf_ntohs(header->bits) & 15;

	if (!(bpf_ntohs(header->bits) >> 15))
		return 0;
	found = bpf_map_lookup_elem(&network_lookups, question);
	if (!found)
		return 0;
	lookup = *found;
	if (!bpf_map_delete_elem(&network_lookups, question)) /* of two answers one */
		network_dns_end(&lookup, code > NETWORK_DNS_REFUSED ? NETWORK_DNS_OTHER_CODE : code, bpf_ktime_get_ns());
	return 1;
}

sonde_slow int network_dns_message(struct __sk_buff *skb, uint32_t offset, uint32_t out)
{
	struct network_question question = {};
	struct dns_header header;

	if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
		return 0;
	question.socket = bpf_get_socket_cookie(skb);
	question.number = header.number;
	return out ? network_dns_ask(skb, offset, &header, &question) : network_dns_answer(&header, &question);
}

/* Messages follow their length. They begin with a segment, as all resolvers send them; a length that was sent alone leaves
 * the message to begin the next one. */
sonde_slow int network_dns_stream(struct __sk_buff *skb, uint32_t header, uint32_t out)
{
	uint32_t offset, i;
	uint16_t length;
	uint8_t words;

	if (bpf_skb_load_bytes(skb, header + 12, &words, sizeof(words)))
		return 0;
	offset = header + (words >> 4) * 4;
	if (offset + DNS_HEADER > skb->len)
		return 0;
	for (i = 0; i < DNS_MOST_MESSAGES; i++) {
		if (bpf_skb_load_bytes(skb, offset, &length, sizeof(length)))
			return 0;
		if (bpf_ntohs(length) < DNS_HEADER || !network_dns_message(skb, offset + sizeof(length), out))
			break;
		offset += sizeof(length) + bpf_ntohs(length);
	}
	if (!i)
		network_dns_message(skb, offset, out);
	return 0;
}

/* To or from port 53? Asked of every packet, so without a call where the header lies in one piece, as it nearly always does. */
sonde_inline bool network_dns_port(struct __sk_buff *skb, const struct network_packet *packet, bool out)
{
	uint8_t *ports = (uint8_t *)(long)skb->data + (packet->header & 63);
	uint16_t port;

	if (ports + 4 <= (uint8_t *)(long)skb->data_end)
		port = ((uint16_t *)ports)[out];
	else if (bpf_skb_load_bytes(skb, packet->header + (out ? 2 : 0), &port, sizeof(port)))
		return false;
	return port == bpf_htons(DNS_PORT);
}

sonde_inline void network_dns_packet(struct __sk_buff *skb, bool out)
{
	struct network_packet packet = network_parse(skb);

	if (packet.protocol != IPPROTO_UDP && packet.protocol != IPPROTO_TCP)
		return;
	if (!network_dns_port(skb, &packet, out))
		return;
	if (!network_is_of_socket(skb, &packet) || network_is_refused())
		return;
	if (packet.protocol == IPPROTO_UDP)
		network_dns_message(skb, packet.header + UDP_HEADER, out);
	else
		network_dns_stream(skb, packet.header, out);
}

SEC("cgroup_skb/ingress")
int network_dns_in(struct __sk_buff *skb)
{
	network_dns_packet(skb, false);
	return LET_THROUGH;
}

SEC("cgroup_skb/egress")
int network_dns_out(struct __sk_buff *skb)
{
	network_dns_packet(skb, true);
	return LET_THROUGH;
}

static long network_expire_one(struct bpf_map *map, struct network_question *key, struct network_lookup *value, void *none)
{
	struct network_question question = *key;
	struct network_lookup lookup = *value;

	if (bpf_ktime_get_ns() - lookup.begin_ns < NETWORK_DNS_TIMEOUT)
		return 0;
	if (!bpf_map_delete_elem(&network_lookups, &question))
		network_dns_end(&lookup, NETWORK_DNS_TIMED_OUT, lookup.begin_ns + NETWORK_DNS_TIMEOUT);
	return 0;
}

/* Before a collection: look-ups that nobody has answered. */
SEC("raw_tp")
int network_expire(void *ctx)
{
	bpf_for_each_map_elem(&network_lookups, network_expire_one, 0, 0);
	return 0;
}

#endif
