/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's own asynchronous I/O, as databases and virtual machines use it: io_submit() begins operations, io_getevents()
 * hands over their ends, told apart by the address of their iocb. Instead of asking, a program may take the ends out of the
 * ring that it shares with the kernel: the ring's head shows how many; they are counted when it submits again. */
#ifndef SONDE_IO_AIO_H
#define SONDE_IO_AIO_H

#include "operation.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define io_arg4(regs) ((regs)->r10)
#else
#define io_arg4(regs) ((regs)->regs[3])
#endif

#define IO_AIO_AT_ONCE 128 /* of one call; what is beyond is a loss */
#define AIO_RING_MAGIC 0xa10a10a1 /* fs/aio.c */

/* struct iocb and struct io_event, include/uapi/linux/aio_abi.h; struct aio_ring, fs/aio.c. Not the kernel's own types: it
 * may be built without them. */
struct io_aio_iocb {
	uint64_t data;
	uint32_t key;
	uint32_t rw_flags;
	uint16_t opcode;
	uint16_t priority;
	uint32_t fd;
};
struct io_aio_event {
	uint64_t data;
	uint64_t iocb;
	int64_t result;
	int64_t result2;
};
struct io_aio_head {
	uint32_t id;
	uint32_t nr;
	uint32_t head;
	uint32_t tail;
	uint32_t magic;
	uint32_t features[3];
};

struct io_aio_key {
	uint64_t address; /* of an iocb, or of a ring, in the process */
	uint64_t tgid;
};

/* Of io_aio.start */
#define IO_AIO_COUNTED (1ULL << 63)   /* its bytes or failure have been counted, its duration not yet */
#define IO_AIO_NOT_TIMED (1ULL << 62) /* the time only distinguishes it from others */

struct io_aio {
	uint64_t start; /* CLOCK_MONOTONIC */
	uint32_t slot;
	uint8_t flags;
	uint8_t note; /* 0: it ended and was counted before anybody saw that it had begun */
	uint16_t reserved;
};

/* In flight. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct io_aio_key);
	__type(value, struct io_aio);
} io_aios SEC(".maps");

struct io_aio_ring {
	uint32_t head;   /* when it was last looked at */
	uint32_t handed; /* ends handed over by io_getevents since */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct io_aio_key);
	__type(value, struct io_aio_ring);
} io_aio_rings SEC(".maps");

#define io_aio_key_of(address_) {.address = (address_), .tgid = bpf_get_current_pid_tgid() >> 32}

/* The side of an iocb, 0 if it is not requested. */
sonde_inline uint32_t io_aio_note(uint32_t flags, uint32_t opcode, uint32_t fd)
{
	uint32_t target = io_target_of((uint64_t)bpf_get_current_task_btf(), fd);

	switch (opcode) { /* IOCB_CMD_*, include/uapi/linux/aio_abi.h */
	case 0: /* PREAD */
	case 7: /* PREADV */
		return io_side(flags, io_transfer(target, IO_READ));
	case 1: /* PWRITE */
	case 8: /* PWRITEV */
		return io_side(flags, io_transfer(target, IO_WRITE));
	case 2: /* FSYNC */
	case 3: /* FDSYNC */
		return target == IO_FILE ? io_side(flags, IO_FSYNC) : 0;
	}
	return 0;
}

/* `at`: address of the address of an iocb. */
__noinline int io_aio_begins(uint64_t at, uint32_t slot, uint32_t flags)
{
	struct io_aio_key key = io_aio_key_of(0);
	struct io_aio now = {.slot = slot, .flags = flags}, *found;
	struct io_aio_iocb request;

	if (bpf_probe_read_user(&key.address, sizeof(key.address), (void *)at) ||
	    bpf_probe_read_user(&request, sizeof(request), (void *)key.address)) {
		sonde_lose(IO_LOSS_NOT_FOLLOWED, 1);
		return 0;
	}
	now.note = io_aio_note(flags, request.opcode, request.fd);
	if (!now.note)
		return 0;
	now.start = io_start(slot, flags, now.note);
	if (now.start == IO_NOT_TIMED)
		now.start = bpf_ktime_get_ns() | IO_AIO_NOT_TIMED;
	if (!(flags & IO_ENTRY)) {
		if (!bpf_map_update_elem(&io_aios, &key, &now, BPF_NOEXIST))
			return 0;
		found = bpf_map_lookup_elem(&io_aios, &key);
		if (found && !found->note) { /* it has ended already */
			bpf_map_delete_elem(&io_aios, &key);
			return 0;
		}
	}
	if (bpf_map_update_elem(&io_aios, &key, &now, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

#define IO_AIO_TIMED 1 /* it ended just now */
#define IO_AIO_EARLY 2 /* it may have ended before its begin was seen */
#define IO_AIO_HOW(how, slot, flags) ((how) | (flags) << 8 | (uint64_t)(slot) << 32)

enum io_aio_part { IO_AIO_NOTHING, IO_AIO_WHOLE, IO_AIO_DURATION };

/* What is to be counted of it. The head of the ring moves before the call that moves it ends: a thread that submits meanwhile
 * finds ends in the ring that another one is about to be handed. It counts what they moved and leaves the request for who is
 * handed it. */
sonde_inline enum io_aio_part io_aio_take(const struct io_aio_key *key, struct io_aio *taken, uint64_t how)
{
	struct io_aio *found = bpf_map_lookup_elem(&io_aios, key);
	enum io_aio_part part = IO_AIO_WHOLE;
	uint64_t start;

	if (!found || !found->note)
		return IO_AIO_NOTHING;
	*taken = *found;
	start = taken->start & ~IO_AIO_COUNTED;
	if (__sync_val_compare_and_swap(&found->start, start, start | IO_AIO_COUNTED) != start) {
		if (!how || found->start != (start | IO_AIO_COUNTED))
			return IO_AIO_NOTHING; /* or it has left the table */
		part = IO_AIO_DURATION;
	}
	taken->start = start & IO_AIO_NOT_TIMED || !(how & IO_AIO_TIMED) ? IO_NOT_TIMED : start;
	if (how)
		bpf_map_delete_elem(&io_aios, key);
	return part;
}

/* If only bytes are asked, a request is noted when the call that began it has ended; by then another thread may have been
 * handed its end. All there is to know is in the iocb, which is the program's again only after this. */
sonde_inline enum io_aio_part io_aio_take_early(const struct io_aio_key *key, struct io_aio *taken, uint64_t how)
{
	struct io_aio ended = {.slot = how >> 32, .flags = how >> 8};
	struct io_aio_iocb request;
	enum io_aio_part part;
	uint32_t note;

	if (bpf_probe_read_user(&request, sizeof(request), (void *)key->address))
		return IO_AIO_NOTHING;
	note = io_aio_note(ended.flags, request.opcode, request.fd);
	if (!note)
		return IO_AIO_NOTHING;
	if (bpf_map_update_elem(&io_aios, key, &ended, BPF_NOEXIST)) { /* it was noted just now */
		part = io_aio_take(key, taken, how);
		if (part != IO_AIO_NOTHING)
			return part;
	}
	ended.note = note;
	ended.start = IO_NOT_TIMED;
	*taken = ended;
	return IO_AIO_WHOLE;
}

/* 1 if it was in flight and had not been counted yet. `how`: IO_AIO_HOW(), 0 if nobody is handed it. */
sonde_inline int io_aio_ends(uint64_t address, int64_t result, uint64_t how)
{
	struct io_aio_key key = io_aio_key_of(address);
	struct io_aio taken = {};
	enum io_aio_part part = io_aio_take(&key, &taken, how);
	uint64_t end;

	if (part == IO_AIO_NOTHING && how & IO_AIO_EARLY)
		part = io_aio_take_early(&key, &taken, how);
	if (part == IO_AIO_NOTHING)
		return 0;
	end = taken.start == IO_NOT_TIMED ? taken.start : bpf_ktime_get_ns();
	/* Not io_count_note(): calls must not be nested deeper than eight. A result of 0 counts nothing but the duration. */
	io_count_second_side(taken.slot, IO_FLAGS_AND_OPERATION(taken.flags, taken.note - 1), taken.start, end,
			     part == IO_AIO_WHOLE ? result : 0);
	return part == IO_AIO_WHOLE;
}

__noinline int io_aio_event_ends(uint64_t at, uint64_t how)
{
	struct io_aio_event event;

	if (bpf_probe_read_user(&event, sizeof(event), (void *)at)) {
		sonde_lose(IO_LOSS_NOT_FOLLOWED, 1);
		return 0;
	}
	return io_aio_ends(event.iocb, event.result, how);
}

__noinline int io_aio_forget(uint64_t at)
{
	struct io_aio_key key = io_aio_key_of(0);

	if (!bpf_probe_read_user(&key.address, sizeof(key.address), (void *)at))
		bpf_map_delete_elem(&io_aios, &key);
	return 0;
}

/* Ends that the program has taken out of the ring itself since it last submitted. Which of those that the head has passed it
 * was handed is not known, but these are no longer in the table. */
sonde_inline int io_aio_look(uint64_t ring)
{
	struct io_aio_key key = io_aio_key_of(ring);
	struct io_aio_ring *before, now = {};
	struct io_aio_head head;
	uint32_t passed, handed, last, i;

	if (bpf_probe_read_user(&head, sizeof(head), (void *)ring)) { /* so far it is the kernel's alone */
		bpf_map_update_elem(&io_aio_rings, &key, &now, BPF_NOEXIST);
		return 0;
	}
	if (head.magic != AIO_RING_MAGIC || !head.nr)
		return 0;
	now.head = head.head % head.nr;
	before = bpf_map_lookup_elem(&io_aio_rings, &key);
	if (!before) {
		bpf_map_update_elem(&io_aio_rings, &key, &now, BPF_ANY);
		return 0;
	}
	last = before->head;
	if (__sync_val_compare_and_swap(&before->head, last, now.head) != last)
		return 0; /* another thread looks */
	passed = (now.head + head.nr - last % head.nr) % head.nr;
	handed = before->handed;
	before->handed = 0; /* checking again does no harm */
	if (passed <= handed)
		return 0;
	for (i = 0; i < IO_AIO_AT_ONCE && i < passed; i++)
		io_aio_event_ends(ring + sizeof(head) + (now.head + head.nr - 1 - i) % head.nr * sizeof(struct io_aio_event), 0);
	if (passed > handed + IO_AIO_AT_ONCE)
		sonde_lose(IO_LOSS_NOT_FOLLOWED, passed - handed - IO_AIO_AT_ONCE);
	return 0;
}

/* io_submit(ring, n, iocbs): before the kernel looks at them, since an end may be told while it does. */
sonde_slow int io_aio_submits(uint64_t ring, uint64_t n, uint64_t iocbs, uint32_t slot, uint32_t flags)
{
	uint32_t i;

	io_aio_look(ring);
	for (i = 0; i < IO_AIO_AT_ONCE && i < n; i++)
		io_aio_begins(iocbs + i * 8, slot, flags);
	return 0;
}

/* It took so many of them; an error is the first one's. */
sonde_slow int io_aio_submitted(uint64_t n, uint64_t iocbs, int64_t result)
{
	uint64_t first = 0;
	uint32_t i;

	if (result < 0) {
		if (n && !bpf_probe_read_user(&first, sizeof(first), (void *)iocbs))
			io_aio_ends(first, result, 0);
		result = 0;
	}
	if (result > IO_AIO_AT_ONCE)
		sonde_lose(IO_LOSS_NOT_FOLLOWED, result - IO_AIO_AT_ONCE);
	for (i = 0; i < IO_AIO_AT_ONCE && i < n; i++) {
		if (i >= result)
			io_aio_forget(iocbs + i * 8);
	}
	return 0;
}

/* io_getevents(ring, at least, at most, events, …) */
sonde_slow int io_aio_handed(uint64_t ring, uint64_t events, int64_t result, uint64_t how)
{
	struct io_aio_key key = io_aio_key_of(ring);
	struct io_aio_ring *state;
	uint32_t i, known = 0;

	for (i = 0; i < IO_AIO_AT_ONCE && i < result; i++)
		known += io_aio_event_ends(events + i * sizeof(struct io_aio_event), how);
	if (result > IO_AIO_AT_ONCE)
		sonde_lose(IO_LOSS_NOT_FOLLOWED, result - IO_AIO_AT_ONCE);
	state = bpf_map_lookup_elem(&io_aio_rings, &key);
	if (state && known)
		__sync_fetch_and_add(&state->handed, known);
	return 0;
}

#endif
