/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers that both sides of the function probe share. */
#ifndef SONDE_FUNCTION_H
#define SONDE_FUNCTION_H

#include <sonde/abi.h>

/* Bits of the flags byte, and of what one instance measures. */
#define FUNCTION_CALLS 0x01
#define FUNCTION_ERRORS 0x02
#define FUNCTION_BYTES 0x04
#define FUNCTION_DURATION 0x08

/* An instance is one declared function in one file (or in the kernel). It is attached once for all requesters; which
 * slot asks stands in a row of bits. */
#define FUNCTION_INSTANCES 4096
#define FUNCTION_IN_FLIGHT 16384

struct function_asked {
	uint64_t word[FUNCTION_INSTANCES / 64];
};

/* What counts as an error, by the value that the function returns. */
enum function_error {
	FUNCTION_ERROR_NEGATIVE = 0, /* -1 to -4095, as int, long or error pointer */
	FUNCTION_ERROR_NULL = 1,
	FUNCTION_ERROR_NONZERO = 2, /* as int */
};

struct function_instance {
	uint16_t name;   /* number of the declared name: the key of its series */
	uint8_t measure; /* FUNCTION_CALLS and so on */
	uint8_t error;   /* enum function_error */
	uint8_t go;      /* in-flight calls belong to goroutines, whose stacks move */
	uint8_t edition; /* FUNCTION_COOKIE_EDITION of the probes that count; while others take their place both are hit */
	uint8_t reserved[2];
};

/* Keys of cells: the number of the name and which counter it is. */
enum function_counter { FUNCTION_COUNT_CALLS = 0, FUNCTION_COUNT_ERRORS, FUNCTION_COUNT_BYTES };
#define FUNCTION_CELL(name, counter) ((uint32_t)(name) << 2 | (counter))

/* The cookie of an attached place: which instance, and where the argument is that tells the bytes. */
enum function_place {
	FUNCTION_PLACE_NONE = 0,
	FUNCTION_PLACE_REGISTER = 1,
	FUNCTION_PLACE_MEMORY = 2, /* at register + displacement */
	FUNCTION_PLACE_CONSTANT = 3,
};
#define FUNCTION_COOKIE_INSTANCE(cookie) ((cookie) & 0xffff)
#define FUNCTION_COOKIE_PLACE(cookie) ((cookie) >> 16 & 3)
#define FUNCTION_COOKIE_REGISTER(cookie) (((cookie) >> 18 & 63) * 8) /* offset in the saved registers */
#define FUNCTION_COOKIE_ARGUMENT(cookie) ((cookie) >> 18 & 63)       /* by fentry: its number from 0 */
#define FUNCTION_COOKIE_BITS(cookie) (((cookie) >> 24 & 15) * 8 + 8)   /* width of the value */
#define FUNCTION_COOKIE_SIGNED(cookie) ((cookie) >> 28 & 1)
#define FUNCTION_COOKIE_EDITION(cookie) ((cookie) >> 29 & 7)
#define FUNCTION_COOKIE_DISPLACEMENT(cookie) ((int32_t)((cookie) >> 32))

/* More bytes than this in one call cannot be: the argument is not a size. */
#define FUNCTION_MOST_BYTES (1ULL << 40)

/* What function_inode is asked and answers: which inode the caller has mapped at an address. That is what the kernel tells
 * the files of uprobes apart by; of an overlay it is the file in the layer. */
struct function_mapping {
	uint64_t address;
	uint64_t inode;  /* its place in the kernel: no other inode has it while this one is in use; 0: nothing is mapped there */
	uint64_t number; /* i_ino */
	uint32_t device; /* s_dev of its super block */
	uint32_t reserved;
};

SONDE_ASSERT(sizeof(struct function_instance) == 8, "shared layout");
SONDE_ASSERT(sizeof(struct function_mapping) == 32, "shared layout");

#endif
