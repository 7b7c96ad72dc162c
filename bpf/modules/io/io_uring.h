/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests of io_uring do not pass through system calls: they are charged to the task that submits, and their bytes and
 * durations belong to the same rows as those of read() and write(). */
#ifndef SONDE_IO_URING_H
#define SONDE_IO_URING_H

#include "operation.h"

/* What of a request is an operation on a file descriptor or a path. Numbers: enum io_uring_op, user space ABI. */
#define IO_URING_OPERATIONS 64
const uint8_t io_uring_calls[IO_URING_OPERATIONS] = {
	[1] = IO_CALL_READ,    /* READV */
	[2] = IO_CALL_WRITE,   /* WRITEV */
	[3] = IO_CALL_FSYNC,   /* FSYNC */
	[4] = IO_CALL_READ,    /* READ_FIXED */
	[5] = IO_CALL_WRITE,   /* WRITE_FIXED */
	[18] = IO_CALL_OPEN,   /* OPENAT */
	[19] = IO_CALL_CLOSE,  /* CLOSE */
	[21] = IO_CALL_STAT,   /* STATX */
	[22] = IO_CALL_READ,   /* READ */
	[23] = IO_CALL_WRITE,  /* WRITE */
	[28] = IO_CALL_OPEN,   /* OPENAT2 */
	[35] = IO_CALL_RENAME, /* RENAMEAT */
	[36] = IO_CALL_UNLINK, /* UNLINKAT */
	[60] = IO_CALL_READ,   /* READV_FIXED */
	[61] = IO_CALL_WRITE,  /* WRITEV_FIXED */
};

/* IOSQE_CQE_SKIP_SUCCESS, kept in io_kiocb.flags at the same bit: success is then not reported to anybody. */
#define IO_URING_SKIPS_COMPLETION (1 << 6)

struct io_request {
	uint64_t start;
	uint32_t slot;
	uint8_t flags;
	uint8_t call;
	uint16_t reserved;
};

/* In flight, by address of the request. Least recently used: requests whose end is never told (the completion queue
 * overflowed) leave by themselves. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, uint64_t);
	__type(value, struct io_request);
} io_requests SEC(".maps");

/* The side that most likely comes of it: only to know whether, and by which sampling, to take the clock. */
sonde_inline uint32_t io_uring_note(uint32_t flags, uint32_t call, uint32_t target)
{
	switch (call) {
	case IO_CALL_READ:
	case IO_CALL_WRITE:
		return io_side(flags, io_transfer(target, call - IO_CALL_READ));
	case IO_CALL_FSYNC:
		return target == IO_FILE ? io_side(flags, IO_FSYNC) : 0;
	case IO_CALL_CLOSE:
		return io_side(flags, IO_CLOSE);
	case IO_CALL_OPEN:
		return io_side(flags, IO_OPEN);
	case IO_CALL_RENAME:
		return io_side(flags, IO_RENAME);
	case IO_CALL_UNLINK:
		return io_side(flags, IO_UNLINK);
	case IO_CALL_STAT:
		return io_side(flags, IO_STAT);
	}
	return 0;
}

sonde_inline uint32_t io_opcode_place(uint32_t opcode)
{
	uint32_t place = opcode < IO_OPCODES ? opcode : IO_OPCODES - 1;

	barrier_var(place); /* or the compiler drops the mask, see io_bounded() */
	return place & (IO_OPCODES - 1);
}

/* 6.3 and later; before, io_uring_submit_sqe with the same first argument (the agent names it at load). Where that is
 * not a typed request (before 6.0), the loads below are refused and status names the gap. */
SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(io_uring_submit, struct io_kiocb *request)
{
	struct sonde_task *state = sonde_task_of(bpf_get_current_task_btf());
	struct io_request pending = {};
	uint64_t key = (uint64_t)request;
	uint32_t opcode, flags, note;
	uint64_t *row;

	if (!state)
		return 0;
	flags = state->flags[SONDE_MODULE_ID];
	if (!(flags & (IO_URING | IO_REQUEST)))
		return 0;
	opcode = request->opcode;
	if (flags & IO_URING) {
		pending.slot = state->slot;
		row = bpf_map_lookup_elem(&io_counters, &pending.slot);
		if (row)
			__sync_fetch_and_add(&row[IO_OPCODE + io_opcode_place(opcode)], 1);
	}
	if (!(flags & IO_REQUEST) || opcode >= IO_URING_OPERATIONS || request->flags & IO_URING_SKIPS_COMPLETION)
		return 0;
	pending.call = io_uring_calls[opcode];
	if (pending.call == IO_CALL_NONE)
		return 0;
	note = io_uring_note(flags, pending.call, IO_FILE);
	pending.slot = state->slot;
	pending.flags = flags;
	/* The file is not looked up yet: if files are not asked for, it may be a stream. */
	pending.start = io_start(pending.slot, flags, note ? note : io_uring_note(flags, pending.call, IO_OTHER));
	if (bpf_map_update_elem(&io_requests, &key, &pending, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

/* A completion whose begin is not in the table: nobody asked for it, mostly. Requests end in the context of their own
 * process, so the running task tells. */
sonde_slow int io_lose_request(struct io_kiocb *request)
{
	struct sonde_task *state = sonde_task_of(bpf_get_current_task_btf());
	uint32_t opcode, note, flags;

	if (!state)
		return 0;
	flags = state->flags[SONDE_MODULE_ID];
	opcode = BPF_CORE_READ(request, opcode);
	/* One that failed may never have begun: the ring refused it as it stood. */
	if (!(flags & IO_REQUEST) || opcode >= IO_URING_OPERATIONS || BPF_CORE_READ(request, cqe.res) < 0)
		return 0;
	note = io_uring_note(flags, io_uring_calls[opcode], io_target_of_file((uint64_t)BPF_CORE_READ(request, file)));
	if (note)
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

/* The arguments after the request differ between kernels; its own result does not. `request` is 0 for the extra
 * completions of a multishot request. */
SEC("tp_btf/io_uring_complete")
int BPF_PROG(io_uring_complete, void *ring, void *request)
{
	uint64_t key = (uint64_t)request;
	struct io_request *pending;
	struct io_kiocb *kiocb = request;
	struct io_request taken;
	uint32_t target = IO_FILE;

	if (!key)
		return 0;
	pending = bpf_map_lookup_elem(&io_requests, &key);
	if (!pending)
		return io_lose_request(kiocb);
	taken = *pending;
	bpf_map_delete_elem(&io_requests, &key);
	if (taken.call <= IO_CALL_FSYNC)
		target = io_target_of_file((uint64_t)BPF_CORE_READ(kiocb, file));
	io_count_note(taken.slot, taken.flags, io_uring_note(taken.flags, taken.call, target), taken.start,
		      BPF_CORE_READ(kiocb, cqe.res));
	return 0;
}

#endif
