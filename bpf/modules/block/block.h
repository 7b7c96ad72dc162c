/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The block probe: numbers that block.bpf.c and block.cpp share. */
#ifndef SONDE_BLOCK_H
#define SONDE_BLOCK_H

#include <sonde/abi.h>

enum block_operation {
	BLOCK_READ = 0,
	BLOCK_WRITE,   /* write zeroes and zone append too */
	BLOCK_DISCARD, /* secure erase too */
	BLOCK_FLUSH,
	BLOCK_OPERATIONS,
};

/* Bytes by direction; failures with EIO by operation, which are exported as 0 before the first. Others are cells. */
enum block_counter {
	BLOCK_READ_BYTES = 0,
	BLOCK_WRITE_BYTES,
	BLOCK_IO_ERRORS,
	BLOCK_COUNTERS = BLOCK_IO_ERRORS + BLOCK_OPERATIONS,
};

/* Histograms of whole requests are by operation, ns. Those by phase and device have a key: */
enum block_phase {
	BLOCK_QUEUE = 0, /* from its begin to when the driver gets it, the last time */
	BLOCK_DEVICE,    /* from there to its end */
	BLOCK_PHASES,
};
#define BLOCK_MINOR_BITS 17
#define BLOCK_KEY(major, minor, operation, phase) \
	(((uint32_t)(major) << (BLOCK_MINOR_BITS + 3)) | ((uint32_t)(minor) << 3) | ((operation) << 1) | (phase))
#define BLOCK_KEY_PHASE(key) ((key) & 1)
#define BLOCK_KEY_OPERATION(key) ((key) >> 1 & 3)
#define BLOCK_KEY_MINOR(key) ((key) >> 3 & ((1U << BLOCK_MINOR_BITS) - 1))
#define BLOCK_KEY_MAJOR(key) ((key) >> (BLOCK_MINOR_BITS + 3))

/* Cells: failures. The kernel says a blk_status_t, before 5.16 a negative errno. */
#define BLOCK_ERRNO 0x8000U
#define BLOCK_ERROR_KEY(operation, error) \
	((uint32_t)(operation) << 16 | ((error) < 0 ? BLOCK_ERRNO | -(error) : (uint32_t)(error)))
#define BLOCK_ERROR_OPERATION(key) ((key) >> 16)
#define BLOCK_ERROR_CODE(key) ((key) & 0xffff)

/* Bits of a subject's flags byte. */
enum block_flag {
	BLOCK_FLAG_BYTES = 1,
	BLOCK_FLAG_DURATION = 2,
	BLOCK_FLAG_ERRORS = 4,
	BLOCK_FLAG_PHASES = 8, /* by phase and device; wins over BLOCK_FLAG_DURATION */
	BLOCK_FLAG_DEPTH = 16, /* of the node; user space reads it */
};

/* Requests in flight that something had to be noted of. */
#define BLOCK_IN_FLIGHT 4096

#endif
