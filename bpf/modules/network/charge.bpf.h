/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attribution: to the socket's cgroup, whatever task is running. A socket has the cgroup of the process that made it, one that
 * was accepted that of its listener. These hooks fire for each segment of everybody, so answers are remembered. */
#ifndef SONDE_NETWORK_CHARGE_H
#define SONDE_NETWORK_CHARGE_H

#include "network.h"
#include <sonde/answers.h>

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

/* Requests and sockets in TIME_WAIT are smaller structures: they have no cgroup. */
sonde_inline bool network_is_full(const struct sock *sk)
{
	return sk->__sk_common.skc_state != TCP_TIME_WAIT && sk->__sk_common.skc_state != TCP_NEW_SYN_RECV;
}

#endif
