/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attribution: to the socket's cgroup, whatever task is running. A socket has the cgroup of the process that made it, one that
 * was accepted that of its listener. These hooks fire for each segment of everybody, so answers are remembered. */
#ifndef SONDE_NETWORK_CHARGE_H
#define SONDE_NETWORK_CHARGE_H

#include "network.h"
#include <sonde/answers.h>
#include <sonde/span.h>

/* include/linux/socket.h */
#define AF_INET 2
#define AF_INET6 10

SONDE_ANSWERS(network);

sonde_inline uint32_t network_charge(uint64_t cgroup_id, uint8_t *flags)
{
	return sonde_answer(&network_answers, cgroup_id, flags);
}

/* Of a full socket. */
sonde_inline uint32_t network_charge_socket(const struct sock *sk, uint8_t *flags)
{
	return network_charge(sk->sk_cgrp_data.cgroup->kn->id, flags);
}

/* The thread that begins something whose end comes in a packet, whoever runs then. */
struct network_thread {
	uint32_t tgid; /* 0: not known */
	uint32_t tid;
	char comm[16];
	char leader_comm[16];
};

/* Asked for only where spans are. */
sonde_inline void network_note_thread(struct network_thread *thread, uint32_t slot, uint32_t operation)
{
	struct task_struct *task, *leader;

	if (!sonde_span_threshold(slot, operation))
		return;
	task = bpf_get_current_task_btf();
	leader = task->group_leader;
	thread->tgid = task->tgid;
	thread->tid = task->pid;
	bpf_probe_read_kernel(thread->comm, sizeof(thread->comm), task->comm);
	bpf_probe_read_kernel(thread->leader_comm, sizeof(thread->leader_comm), leader->comm);
}

sonde_inline void network_span_of(struct sonde_span *span, const struct network_thread *thread)
{
	span->tgid = thread->tgid;
	span->tid = thread->tid;
	__builtin_memcpy(span->comm, thread->comm, sizeof(span->comm));
	__builtin_memcpy(span->leader_comm, thread->leader_comm, sizeof(span->leader_comm));
}

/* Requests and sockets in TIME_WAIT are smaller structures: they have no cgroup. */
sonde_inline bool network_is_full(const struct sock *sk)
{
	return sk->__sk_common.skc_state != TCP_TIME_WAIT && sk->__sk_common.skc_state != TCP_NEW_SYN_RECV;
}

#endif
