/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* First include of every .bpf.c: kernel types, libbpf's helpers, our shared layouts. */
#ifndef SONDE_BPF_H
#define SONDE_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include <sonde/abi.h>

/* Task and cgroup storage, ring buffers and atomics are GPL-only helpers or used together with them. */
#define SONDE_LICENSE char LICENSE[] SEC("license") = "Dual BSD/GPL"

#define sonde_inline static __always_inline
/* Slow paths: out of line, and not every object uses each. */
#define sonde_slow static __noinline __attribute__((unused))

#endif
