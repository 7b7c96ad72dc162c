/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers that the two sides of the network probe share: flags of a subject, places in its rows, keys of its cells. */
#ifndef SONDE_NETWORK_H
#define SONDE_NETWORK_H

#include <sonde/abi.h>

/* A subject's flags byte. */
#define NETWORK_TCP_IO 0x01      /* payload bytes */
#define NETWORK_CONNECTIONS 0x02 /* opened, failed, time to connect */
#define NETWORK_TROUBLE 0x04     /* retransmits, overflows of the accept queue */
#define NETWORK_RTT 0x08
#define NETWORK_DETAIL 0x10 /* segments, resets, open connections */
#define NETWORK_UDP 0x20
#define NETWORK_DNS 0x40
#define NETWORK_DROPS 0x80

/* What needs a note at the socket. */
#define NETWORK_SOCKETS (NETWORK_TCP_IO | NETWORK_CONNECTIONS | NETWORK_DETAIL)
/* What is brought into the rows by going through the sockets. */
#define NETWORK_BY_SOCKET (NETWORK_TCP_IO | NETWORK_DETAIL)

enum network_error {
	NETWORK_REFUSED = 0,
	NETWORK_RESET,
	NETWORK_TIMED_OUT,
	NETWORK_HOST_UNREACHABLE,
	NETWORK_NET_UNREACHABLE,
	NETWORK_OTHER_ERROR,
	NETWORK_ERRORS,
};

/* network_counters */
enum network_counter {
	NETWORK_TCP_TRANSMIT = 0,
	NETWORK_TCP_RECEIVE,
	NETWORK_OPENED_CLIENT,
	NETWORK_OPENED_SERVER,
	NETWORK_RETRANSMITS,
	NETWORK_OVERFLOWS,
	NETWORK_SEGMENTS_TRANSMIT,
	NETWORK_SEGMENTS_RECEIVE,
	NETWORK_RESETS_TRANSMIT,
	NETWORK_RESETS_RECEIVE,
	NETWORK_UDP_TRANSMIT,
	NETWORK_UDP_RECEIVE,
	NETWORK_DATAGRAMS_TRANSMIT,
	NETWORK_DATAGRAMS_RECEIVE,
	NETWORK_CLIENT_ERROR, /* + enum network_error */
	NETWORK_SERVER_ERROR = NETWORK_CLIENT_ERROR + NETWORK_ERRORS, /* likewise */
	NETWORK_COUNTERS = NETWORK_SERVER_ERROR + NETWORK_ERRORS,
};

enum network_histogram {
	NETWORK_CONNECT = 0,
	NETWORK_ROUND_TRIP,
	NETWORK_HISTOGRAMS,
};

/* network_keyed: look-ups by type of the question and outcome. */
#define NETWORK_DNS_KEY(type, outcome) ((uint32_t)(type) << 8 | (outcome))
#define NETWORK_DNS_TYPE(key) ((key) >> 8)
#define NETWORK_DNS_OUTCOME(key) ((key) & 0xff)
#define NETWORK_DNS_TIMEOUT (10ULL * 1000 * 1000 * 1000) /* ns without an answer, as resolvers give up */
#define NETWORK_LOOKUPS 4096                             /* under way at a time, all subjects together */

enum network_dns_type { /* RFC 1035, 3596, 2782, 9460 */
	NETWORK_DNS_OTHER_TYPE = 0,
	NETWORK_DNS_A = 1,
	NETWORK_DNS_NS = 2,
	NETWORK_DNS_CNAME = 5,
	NETWORK_DNS_SOA = 6,
	NETWORK_DNS_PTR = 12,
	NETWORK_DNS_MX = 15,
	NETWORK_DNS_TXT = 16,
	NETWORK_DNS_AAAA = 28,
	NETWORK_DNS_SRV = 33,
	NETWORK_DNS_HTTPS = 65,
};

enum network_dns_outcome { /* RCODE of RFC 1035 up to refused */
	NETWORK_DNS_ANSWERED = 0,
	NETWORK_DNS_FORMAT_ERROR = 1,
	NETWORK_DNS_SERVER_FAILURE = 2,
	NETWORK_DNS_NAME_ERROR = 3,
	NETWORK_DNS_NOT_IMPLEMENTED = 4,
	NETWORK_DNS_REFUSED = 5,
	NETWORK_DNS_OTHER_CODE = 6,
	NETWORK_DNS_TIMED_OUT = 7,
	NETWORK_DNS_OUTCOMES,
};

/* network_gauges */
enum network_gauge {
	NETWORK_OPEN = 0,
	NETWORK_OPEN_NEXT = 1, /* where the iterator adds up; no series */
	NETWORK_BYPASSED = 2,  /* not 0: it has sockets in a sockmap; no series */
	NETWORK_GAUGES = 3,
};

#endif
