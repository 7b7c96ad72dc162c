/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the name of a cgroup directory says: is it a pod's, a container's, both, or neither? Kernel side and user space
 * compile these same lines, so they cannot disagree.
 *
 *   container  ends in 64 hex digits that no further hex digit precedes, ".scope" aside: cri-containerd-<id>.scope,
 *              docker-<id>.scope, crio-<id>, <id>. Not so: pods of Podman, which have such ids too, and the scope of a
 *              conmon, which carries the id of the container that it watches.
 *   pod        ends in "pod<uid>", ".slice" aside, at the beginning or after a "-"; the uid is a UUID with dashes or
 *              underscores, or the 32 hex digits of a static pod: pod<uid>, kubepods-burstable-pod<uid>.slice.
 *   both       <pod>:cri-containerd:<id>, where the kubelet speaks systemd's language and the runtime does not.
 */
#ifndef SONDE_CGROUP_NAME_H
#define SONDE_CGROUP_NAME_H

#include <sonde/abi.h>

#define SONDE_NAME_CONTAINER 1U
#define SONDE_NAME_POD 2U
#define SONDE_NAME_HELPER 4U /* a runtime's helper process of a container */
/* Where in the name they are: offset of the container's id, begin and end of the pod's uid. */
#define SONDE_NAME_ID_AT(said) (((said) >> 8) & 255U)
#define SONDE_NAME_UID_AT(said) (((said) >> 16) & 255U)
#define SONDE_NAME_UID_END(said) (((said) >> 24) & 255U)

#define SONDE_ID_DIGITS 64U
#define SONDE_UUID_LENGTH 36U
#define SONDE_STATIC_UID_DIGITS 32U

#define SONDE_PODMAN_PARENT "libpod_parent"
#define SONDE_RUNTIME_BETWEEN ":cri-containerd:"

/* Where the kernel side runs this, the verifier follows every way through it: so nothing here branches inside a loop, which
 * is why digits are looked up and differences are or-ed. Offsets are masked: they stay inside a name of SONDE_NAME_SIZE. */
#define SONDE_NAME_CHAR(name, at) ((unsigned char)(name)[(uint32_t)(at) & (SONDE_NAME_SIZE - 1)])
#define sonde_name_inline static inline __attribute__((always_inline))

/* 1 for 0-9 and a-f. */
static const char sonde_hex_digit[257] =
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\1\1\1\1\1\1\1\1\1\1\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\1\1\1\1\1\1\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/* How many of the `count` characters before `end` are hex digits? */
sonde_name_inline uint32_t sonde_hex_digits(const char *name, uint32_t end, uint32_t count)
{
	uint32_t i, digits = 0;

	for (i = 1; i <= count; i++)
		digits += (uint32_t)sonde_hex_digit[SONDE_NAME_CHAR(name, end - i)];
	return digits;
}

/* Do these `count` characters stand before `end`? */
sonde_name_inline int sonde_stands_before(const char *name, uint32_t end, const char *text, uint32_t count)
{
	uint32_t i, different = 0;

	for (i = 0; i < count; i++)
		different |= (uint32_t)(SONDE_NAME_CHAR(name, end - count + i) ^ (unsigned char)text[i]);
	return end >= count && !different;
}

/* Eight-four-four-four-twelve before `end`, all separators the same? */
sonde_name_inline int sonde_uuid_before(const char *name, uint32_t end)
{
	const uint32_t begin = end - SONDE_UUID_LENGTH;
	const uint32_t separator = SONDE_NAME_CHAR(name, begin + 8);
	uint32_t digits, different = 0;

	/* digits and separators are told apart by their number: a separator is no digit */
	digits = sonde_hex_digits(name, end, SONDE_UUID_LENGTH);
	different |= SONDE_NAME_CHAR(name, begin + 13) ^ separator;
	different |= SONDE_NAME_CHAR(name, begin + 18) ^ separator;
	different |= SONDE_NAME_CHAR(name, begin + 23) ^ separator;
	return end >= SONDE_UUID_LENGTH && (separator == '-' || separator == '_') && !different &&
	       digits == SONDE_UUID_LENGTH - 4;
}

/* A pod's name before `end`: SONDE_NAME_POD and where its uid is, or 0. */
sonde_name_inline uint32_t sonde_pod_before(const char *name, uint32_t end)
{
	uint32_t begin;

	if (sonde_stands_before(name, end, ".slice", 6))
		end -= 6;
	if (sonde_uuid_before(name, end))
		begin = end - SONDE_UUID_LENGTH;
	else if (end >= SONDE_STATIC_UID_DIGITS &&
		 sonde_hex_digits(name, end, SONDE_STATIC_UID_DIGITS) == SONDE_STATIC_UID_DIGITS)
		begin = end - SONDE_STATIC_UID_DIGITS;
	else
		return 0;
	if (!sonde_stands_before(name, begin, "pod", 3) || (begin > 3 && SONDE_NAME_CHAR(name, begin - 4) != '-'))
		return 0;
	return SONDE_NAME_POD | (begin & 255) << 16 | (end & 255) << 24;
}

/* What the name says: SONDE_NAME_… and the offsets. `name` has SONDE_NAME_SIZE readable bytes, `length` without the
 * final zero; `podman_parent`: the directory is in one that is called SONDE_PODMAN_PARENT. */
sonde_name_inline uint32_t sonde_name_says(const char *name, uint32_t length, int podman_parent)
{
	uint32_t end = length, id, says = 0;
	int is_id;

	if (sonde_stands_before(name, end, ".scope", 6))
		end -= 6;
	id = end - SONDE_ID_DIGITS;
	is_id = end >= SONDE_ID_DIGITS && sonde_hex_digits(name, end, SONDE_ID_DIGITS) == SONDE_ID_DIGITS &&
		(id == 0 || !sonde_hex_digit[SONDE_NAME_CHAR(name, id - 1)]);
	if (is_id) {
		if (sonde_stands_before(name, id, "conmon-", 7))
			return SONDE_NAME_HELPER;
		if (sonde_stands_before(name, id, "pod_", 4) || (id == 0 && podman_parent))
			return 0;
		says = SONDE_NAME_CONTAINER | (id & 255) << 8;
		if (!sonde_stands_before(name, id, SONDE_RUNTIME_BETWEEN, sizeof(SONDE_RUNTIME_BETWEEN) - 1))
			return says;
		length = id - (sizeof(SONDE_RUNTIME_BETWEEN) - 1);
	}
	return says | sonde_pod_before(name, length);
}

#endif
