/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers that the two sides of the io probe share: flags of a subject, places in its rows, keys of its cells. */
#ifndef SONDE_IO_H
#define SONDE_IO_H

#include "opcodes.h"

/* A subject's flags byte. */
#define IO_BYTES 0x01      /* bytes of files, counted when the call returns */
#define IO_OPERATIONS 0x02 /* durations of read, write, fsync on files */
#define IO_ERRORS 0x04     /* failures by errno */
#define IO_DETAIL 0x08     /* open, close, rename, unlink, stat */
#define IO_STREAM 0x10     /* bytes and waits on what is not a file */
#define IO_OPEN_COUNT 0x20 /* open files, by iterator */
#define IO_URING 0x40      /* io_uring requests by opcode */

/* What needs to be seen at the start of a call, too. */
#define IO_ENTRY (IO_OPERATIONS | IO_ERRORS | IO_DETAIL | IO_STREAM)
/* What of an io_uring request is followed to its completion. */
#define IO_REQUEST (IO_BYTES | IO_OPERATIONS | IO_ERRORS | IO_DETAIL | IO_STREAM)

/* The probe's own reasons for losses. */
enum io_loss {
	IO_LOSS_COMPAT = SONDE_LOSS_OWN, /* 32-bit system call, whose numbers differ: not counted */
	IO_LOSS_NOT_FOLLOWED,            /* moves bytes in a way that is not followed to its end: not counted */
};

/* What a file descriptor leads to. */
enum io_target {
	IO_FILE = 0, /* regular file, directory, block device; no open file at all, so that EBADF is counted */
	IO_SOCKET = 1,
	IO_PIPE = 2,
	IO_TTY = 3,
	IO_OTHER = 4, /* other character devices; eventfd, timerfd and their kind */
	IO_TARGETS = 5,
};

/* An operation is its place in io_histograms. Transfers come first: target * 2 + direction, so a place below
 * IO_TRANSFERS is that of the bytes in io_counters, too. */
enum io_operation {
	IO_READ = 0,
	IO_WRITE = 1,
	IO_STREAMS = 2, /* first that is not a file's */
	IO_TRANSFERS = IO_TARGETS * 2,
	IO_FSYNC = IO_TRANSFERS,
	IO_OPEN,
	IO_CLOSE,
	IO_RENAME,
	IO_UNLINK,
	IO_STAT,
	IO_HISTOGRAMS,
};

/* io_counters: bytes by transfer, requests by io_uring opcode, and how many operations the sampling has passed by
 * (u32 each, one per histogram; no series). */
#define IO_OPCODES (IO_KNOWN_OPCODES + 1) /* the last one stands for all that are not known */
enum io_counter {
	IO_OPCODE = IO_TRANSFERS,
	IO_SAMPLERS = IO_OPCODE + IO_OPCODES,
	IO_COUNTERS = IO_SAMPLERS + IO_HISTOGRAMS / 2,
};

/* io_cells: failures. */
#define IO_ERROR_KEY(operation, error) (((uint32_t)(operation) << 16) | (uint32_t)(error))
#define IO_ERROR_OPERATION(key) ((key) >> 16)
#define IO_ERROR_NUMBER(key) ((key)&0xffff)

/* io_gauges. */
enum io_gauge {
	IO_OPEN_FILES = 0,
	IO_OPEN_FILES_NEXT = 1, /* where the iterator adds up; no series */
	IO_GAUGES = 2,
};

/* The kernel side's state, u64 each, reset when its programs are attached. What a task was doing when they were detached
 * before says nothing about what it does now. */
enum io_state_place {
	IO_BEGUN = 0, /* CLOCK_MONOTONIC when they were last attached */
	IO_OVERFLOWS, /* 1: a completion queue of io_uring has overflowed since, by_user_data.bpf.h */
	IO_TOLD_ONCE, /* 1: a completion that overflows is not told as a completion before */
	IO_TAKEN_AS_TOLD, /* overflows that were taken as told before */
	IO_STATE_PLACES,
};

SONDE_ASSERT(IO_HISTOGRAMS == 16, "the kernel side masks with 15");
SONDE_ASSERT(IO_READ == IO_FILE * 2 && IO_WRITE == IO_READ + 1 && IO_STREAMS == IO_SOCKET * 2, "transfers by target");

#endif
