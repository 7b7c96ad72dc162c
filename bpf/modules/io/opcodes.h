/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is an operation, and what each opcode of io_uring counts as. */
#ifndef SONDE_IO_OPCODES_H
#define SONDE_IO_OPCODES_H

#include <sonde/abi.h>

enum io_call {
	IO_CALL_NONE = 0, /* moves no bytes that are counted */
	IO_CALL_READ,     /* the first argument is the file descriptor, of each up to and with VMSPLICE */
	IO_CALL_WRITE,
	IO_CALL_FSYNC,
	IO_CALL_CLOSE,
	IO_CALL_FSTAT,
	IO_CALL_VMSPLICE, /* a write or a read, as the pipe's end is */
	IO_CALL_SENDFILE, /* (out, in, …) */
	IO_CALL_SPLICE,   /* (in, offset, out, …); copy_file_range as well */
	IO_CALL_TEE,      /* (in, out, …): its input keeps the bytes, so a write alone */
	IO_CALL_OPEN,     /* by path from here on: no file descriptor to ask what it is */
	IO_CALL_RENAME,
	IO_CALL_UNLINK,
	IO_CALL_STAT,
	/* Of io_uring alone: */
	IO_CALL_MULTISHOT, /* one read after the other, each with a completion of its own */
	IO_CALL_COMMAND,   /* for a driver, which alone knows how many bytes it moves: a loss on devices */
	IO_CALL_NETWORK,   /* send and receive: the network probe's, not followed here */
	/* Calls that begin operations or hand over their ends, aio.bpf.h: */
	IO_CALL_AIO_SUBMIT,
	IO_CALL_AIO_EVENTS, /* io_getevents, io_pgetevents */
};

/* X(number, name, call): enum io_uring_op, include/uapi/linux/io_uring.h through Linux 6.19. Numbers never change. */
#define IO_URING_OPCODES(X)              \
	X(0, nop, NONE)                  \
	X(1, readv, READ)                \
	X(2, writev, WRITE)              \
	X(3, fsync, FSYNC)               \
	X(4, read_fixed, READ)           \
	X(5, write_fixed, WRITE)         \
	X(6, poll_add, NONE)             \
	X(7, poll_remove, NONE)          \
	X(8, sync_file_range, NONE)      \
	X(9, sendmsg, NETWORK)           \
	X(10, recvmsg, NETWORK)          \
	X(11, timeout, NONE)             \
	X(12, timeout_remove, NONE)      \
	X(13, accept, NONE)              \
	X(14, async_cancel, NONE)        \
	X(15, link_timeout, NONE)        \
	X(16, connect, NONE)             \
	X(17, fallocate, NONE)           \
	X(18, openat, OPEN)              \
	X(19, close, CLOSE)              \
	X(20, files_update, NONE)        \
	X(21, statx, STAT)               \
	X(22, read, READ)                \
	X(23, write, WRITE)              \
	X(24, fadvise, NONE)             \
	X(25, madvise, NONE)             \
	X(26, send, NETWORK)             \
	X(27, recv, NETWORK)             \
	X(28, openat2, OPEN)             \
	X(29, epoll_ctl, NONE)           \
	X(30, splice, SPLICE)            \
	X(31, provide_buffers, NONE)     \
	X(32, remove_buffers, NONE)      \
	X(33, tee, TEE)                  \
	X(34, shutdown, NONE)            \
	X(35, renameat, RENAME)          \
	X(36, unlinkat, UNLINK)          \
	X(37, mkdirat, NONE)             \
	X(38, symlinkat, NONE)           \
	X(39, linkat, NONE)              \
	X(40, msg_ring, NONE)            \
	X(41, fsetxattr, NONE)           \
	X(42, setxattr, NONE)            \
	X(43, fgetxattr, NONE)           \
	X(44, getxattr, NONE)            \
	X(45, socket, NONE)              \
	X(46, uring_cmd, COMMAND)        \
	X(47, send_zc, NETWORK)          \
	X(48, sendmsg_zc, NETWORK)       \
	X(49, read_multishot, MULTISHOT) \
	X(50, waitid, NONE)              \
	X(51, futex_wait, NONE)          \
	X(52, futex_wake, NONE)          \
	X(53, futex_waitv, NONE)         \
	X(54, fixed_fd_install, NONE)    \
	X(55, ftruncate, NONE)           \
	X(56, bind, NONE)                \
	X(57, listen, NONE)              \
	X(58, recv_zc, NETWORK)          \
	X(59, epoll_wait, NONE)          \
	X(60, readv_fixed, READ)         \
	X(61, writev_fixed, WRITE)       \
	X(62, pipe, NONE)                \
	X(63, nop128, NONE)              \
	X(64, uring_cmd128, COMMAND)
#define IO_KNOWN_OPCODES 65

#endif
