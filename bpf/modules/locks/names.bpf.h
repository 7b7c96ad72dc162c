/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a lock is called. One that stands in the kernel's own data has a name there. Others belong to some object (an inode,
 * a pipe, an mm): they are named after the function that waits, the first on the stack that is not the lock's own code.
 * Here this is an address and its hash; user space finds the symbol, addresses go no further. */
#ifndef SONDE_LOCKS_NAMES_H
#define SONDE_LOCKS_NAMES_H

#include "waits.bpf.h"

/* struct locks_bounds; as numbers, because of the generated skeleton */
const volatile uint64_t locks_limits[2 + 2 * LOCKS_CODES] SEC(".rodata.locks") = {};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCKS_PLACES);
	__type(key, uint32_t);
	__type(value, struct locks_place);
} locks_places SEC(".maps");

#define LOCKS_FRAMES 16

sonde_inline bool locks_own_code(uint64_t address)
{
	int i;

	for (i = 2; i < 2 + 2 * LOCKS_CODES; i += 2) {
		if (address >= locks_limits[i] && address < locks_limits[i + 1])
			return true;
	}
	return false;
}

/* The stack begins with this program and the tracepoint, then comes the lock's code, then who called it. */
sonde_slow uint64_t locks_address(void *ctx, uint64_t lock)
{
	uint64_t frames[LOCKS_FRAMES] = {};
	bool inside = false;
	int i;

	if (lock >= locks_limits[0] && lock < locks_limits[1])
		return lock;
	if (bpf_get_stack(ctx, frames, sizeof(frames), 0) < 8)
		return 0;
	for (i = 0; i < LOCKS_FRAMES; i++) {
		bool own = locks_own_code(frames[i]);

		if (inside && !own)
			return frames[i];
		inside = inside || own;
	}
	return 0;
}

sonde_inline void locks_count_name(void *ctx, uint64_t lock, uint32_t slot, uint32_t kind, uint64_t ns)
{
	struct locks_place place = {.address = locks_address(ctx, lock)};
	uint32_t hash = place.address * 0x9e3779b97f4a7c15ULL >> (64 - LOCKS_PLACE_BITS);

	/* Where it is not known, there is no room for its name, or the table is busy, the time is `other`'s. */
	if (hash && !bpf_map_lookup_elem(&locks_places, &hash) && bpf_map_update_elem(&locks_places, &hash, &place, BPF_ANY))
		hash = 0;
	sonde_count_key(&locks_cells, slot, LOCKS_CELL(kind, hash), ns);
}

#endif
