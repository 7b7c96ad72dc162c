/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Spans as the kernel side hands them to user space: single operations that took long, or failed. What qualifies and how many
 * may be sent is decided by user space, per slot. The kernel side's functions are in span.h. */
#ifndef SONDE_SPANS_H
#define SONDE_SPANS_H

#include <sonde/abi.h>

enum sonde_span_operation {
	SONDE_SPAN_READ = 0,
	SONDE_SPAN_WRITE,
	SONDE_SPAN_FSYNC,
	SONDE_SPAN_OPEN,
	SONDE_SPAN_RENAME,
	SONDE_SPAN_UNLINK,
	SONDE_SPAN_CONNECT,
	SONDE_SPAN_ACCEPT,
	SONDE_SPAN_SEND,
	SONDE_SPAN_DNS_LOOKUP,
	SONDE_SPAN_BLOCK_IO,
	SONDE_SPAN_CPU_THROTTLE,
	SONDE_SPAN_PAGE_FAULT,
	SONDE_SPAN_DIRECT_RECLAIM,
	SONDE_SPAN_LOCK_WAIT,
	SONDE_SPAN_RUN_QUEUE_WAIT,
	SONDE_SPAN_OOM_KILL,
	SONDE_SPAN_RECEIVE,
	SONDE_SPAN_FUTEX_WAIT,
	SONDE_SPAN_PROCESS,
	SONDE_SPAN_FUNCTION,
	SONDE_SPAN_OPERATIONS = 24,
};

enum sonde_span_direction {
	SONDE_SPAN_NO_DIRECTION = 0,
	SONDE_SPAN_READS,
	SONDE_SPAN_WRITES,
	SONDE_SPAN_DISCARDS,
	SONDE_SPAN_FLUSHES,
};

enum sonde_span_oom_scope {
	SONDE_SPAN_OOM_CGROUP = 0,
	SONDE_SPAN_OOM_GLOBAL,
};

/* sonde_span.error of a failure that has no errno (a function that returns a null pointer). */
#define SONDE_SPAN_NO_ERRNO (-1)

/* sonde_span_config, key: slot. */
struct sonde_span_config {
	uint32_t threshold_us[SONDE_SPAN_OPERATIONS]; /* 0: no spans of it; otherwise as long or longer qualifies */
	uint32_t errors;                              /* bit per operation: its failures qualify at any duration */
	uint32_t reserved[3];
};

/* sonde_span_budgets, key: slot. A span takes one token of its slot and one of SONDE_SLOT_NODE; user space refills both. */
struct sonde_span_budget {
	int64_t tokens;
	uint64_t suppressed[SONDE_SPAN_OPERATIONS]; /* qualified but found no token, since the last one sent */
};

/* A record of sonde_spans. What an operation does not have is 0. */
struct sonde_span {
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	uint64_t end_ns;
	uint32_t slot;
	uint32_t operation; /* enum sonde_span_operation */
	uint32_t tgid;      /* as in the first PID namespace; 0: not known */
	uint32_t tid;
	int32_t error; /* errno, positive, or SONDE_SPAN_NO_ERRNO; 0: it succeeded, or `detail` says how it failed */
	uint32_t threshold_us;
	uint64_t suppressed;
	uint64_t bytes;
	uint32_t device_major;
	uint32_t device_minor;
	uint16_t direction; /* enum sonde_span_direction */
	uint16_t family;    /* AF_INET, AF_INET6 */
	uint16_t port;      /* of the peer, in host order */
	uint16_t transport; /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t address[16]; /* of the peer: 4 bytes of it for AF_INET */
	uint32_t detail; /* DNS: type << 8 | outcome; lock: its kind (locks.h); OOM: enum sonde_span_oom_scope; function: name */
	uint32_t flags;
	char comm[16];        /* of the thread */
	char leader_comm[16]; /* of its process's first thread */
};

SONDE_ASSERT(sizeof(struct sonde_span_config) == 112, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_span_budget) == 200, "shared layout");
SONDE_ASSERT(sizeof(struct sonde_span) == 128, "shared layout");

#endif
