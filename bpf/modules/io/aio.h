/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's own asynchronous I/O, as databases and virtual machines use it: io_submit() begins operations, io_getevents()
 * hands over their ends, told apart by the address of their iocb. Instead of asking, a program may take the ends out of the
 * ring that it shares with the kernel: the ring's head shows how many; they are counted when it submits again. */
#ifndef SONDE_IO_AIO_H
#define SONDE_IO_AIO_H

#include "operation.h"

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

struct io_aio {
	uint64_t start;
	uint32_t slot;
	uint8_t flags;
	uint8_t note;
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

/* The side of an iocb, 0 if nobody asks for it. */
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
	struct io_aio now = {.slot = slot, .flags = flags};
	struct io_aio_iocb request;

	if (bpf_probe_read_user(&key.address, sizeof(key.address), (void *)at) ||
	    bpf_probe_read_user(&request, sizeof(request), (void *)key.address)) {
		sonde_lose(SONDE_LOSS_NOT_FOLLOWED, 1);
		return 0;
	}
	now.note = io_aio_note(flags, request.opcode, request.fd);
	if (!now.note)
		return 0;
	now.start = io_start(slot, flags, now.note);
	if (bpf_map_update_elem(&io_aios, &key, &now, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

/* 1 if it was in flight. `timed`: it ended just now. */
sonde_inline int io_aio_ends(uint64_t address, int64_t result, uint32_t timed)
{
	struct io_aio_key key = io_aio_key_of(address);
	struct io_aio *found = bpf_map_lookup_elem(&io_aios, &key), taken;
	uint64_t start, end;

	if (!found)
		return 0;
	taken = *found;
	if (bpf_map_delete_elem(&io_aios, &key))
		return 0; /* another thread was quicker */
	start = timed ? taken.start : IO_NOT_TIMED;
	end = start == IO_NOT_TIMED ? start : bpf_ktime_get_ns();
	/* Not io_count_note(): calls must not be nested deeper than eight. */
	io_count_second_side(taken.slot, IO_FLAGS_AND_OPERATION(taken.flags, taken.note - 1), start, end, result);
	return 1;
}

__noinline int io_aio_event_ends(uint64_t at, uint32_t timed)
{
	struct io_aio_event event;

	if (bpf_probe_read_user(&event, sizeof(event), (void *)at)) {
		sonde_lose(SONDE_LOSS_NOT_FOLLOWED, 1);
		return 0;
	}
	return io_aio_ends(event.iocb, event.result, timed);
}

__noinline int io_aio_forget(uint64_t at)
{
	struct io_aio_key key = io_aio_key_of(0);

	if (!bpf_probe_read_user(&key.address, sizeof(key.address), (void *)at))
		bpf_map_delete_elem(&io_aios, &key);
	return 0;
}

/* Ends that the program has taken out of the ring itself since it last submitted. */
sonde_inline int io_aio_look(uint64_t ring)
{
	struct io_aio_key key = io_aio_key_of(ring);
	struct io_aio_ring *before, now = {};
	struct io_aio_head head;
	uint32_t gone, i;

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
	gone = (now.head + head.nr - before->head % head.nr) % head.nr;
	gone = gone > before->handed ? gone - before->handed : 0;
	before->head = now.head;
	before->handed = 0;
	for (i = 0; i < IO_AIO_AT_ONCE && i < gone; i++)
		io_aio_event_ends(ring + sizeof(head) + (now.head + head.nr - gone + i) % head.nr * sizeof(struct io_aio_event), 0);
	if (gone > IO_AIO_AT_ONCE)
		sonde_lose(SONDE_LOSS_NOT_FOLLOWED, gone - IO_AIO_AT_ONCE);
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
		sonde_lose(SONDE_LOSS_NOT_FOLLOWED, result - IO_AIO_AT_ONCE);
	for (i = 0; i < IO_AIO_AT_ONCE && i < n; i++) {
		if (i >= result)
			io_aio_forget(iocbs + i * 8);
	}
	return 0;
}

/* io_getevents(ring, at least, at most, events, …) */
sonde_slow int io_aio_handed(uint64_t ring, uint64_t events, int64_t result)
{
	struct io_aio_key key = io_aio_key_of(ring);
	struct io_aio_ring *state;
	uint32_t i, known = 0;

	for (i = 0; i < IO_AIO_AT_ONCE && i < result; i++)
		known += io_aio_event_ends(events + i * sizeof(struct io_aio_event), 1);
	if (result > IO_AIO_AT_ONCE)
		sonde_lose(SONDE_LOSS_NOT_FOLLOWED, result - IO_AIO_AT_ONCE);
	state = bpf_map_lookup_elem(&io_aio_rings, &key);
	if (state && known)
		__sync_fetch_and_add(&state->handed, known);
	return 0;
}

#endif
