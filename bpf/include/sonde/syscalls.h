/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Functions of system calls, as fentry names them (CONFIG_ARCH_HAS_SYSCALL_WRAPPER). For both sides. */
#ifndef SONDE_SYSCALLS_H
#define SONDE_SYSCALLS_H

#if defined(__TARGET_ARCH_x86) || defined(__x86_64__)
#define SONDE_ON_X86 1
#define SONDE_SYSCALL_PREFIX "__x64_sys_"
#else
#define SONDE_ON_X86 0
#define SONDE_SYSCALL_PREFIX "__arm64_sys_"
#endif

/* SONDE_SYSCALL(read): "__x64_sys_read" */
#define SONDE_SYSCALL(name) SONDE_SYSCALL_PREFIX #name

#endif
