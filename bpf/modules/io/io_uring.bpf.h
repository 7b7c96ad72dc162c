/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests of io_uring do not pass through system calls: they are charged to the task that submits, and their bytes and
 * durations belong to the same rows as those of read() and write(). */
#ifndef SONDE_IO_URING_H
#define SONDE_IO_URING_H

#include "by_user_data.bpf.h"

#define IO_OPCODE_CALL(number, name, call) [number] = IO_CALL_##call,
const uint8_t io_uring_calls[IO_KNOWN_OPCODES] = {IO_URING_OPCODES(IO_OPCODE_CALL)};

/* IOSQE_CQE_SKIP_SUCCESS, kept in io_kiocb.flags at the same bit: success is then not reported to anybody. */
#define IO_URING_SKIPS_COMPLETION (1 << 6)
#define SPLICE_F_FD_IN_FIXED (1U << 31) /* include/uapi/linux/io_uring.h */

sonde_inline uint32_t io_opcode_place(uint32_t opcode)
{
	barrier_var(opcode); /* or the compiler drops the bound, see io_bounded() */
	return opcode < IO_OPCODES ? opcode : IO_OPCODES - 1;
}

/* What of this opcode is followed to its end. */
sonde_inline uint32_t io_uring_call(uint32_t opcode)
{
	uint32_t call;

	barrier_var(opcode);
	if (opcode >= IO_KNOWN_OPCODES)
		return IO_CALL_NONE;
	call = io_uring_calls[opcode];
	return call == IO_CALL_NETWORK ? IO_CALL_NONE : call;
}

/* The input of a splice is known by number only, and when it ends the number may be another's. */
sonde_slow uint32_t io_splice_input(struct io_kiocb *request)
{
	struct io_splice *splice = (struct io_splice *)request;

	if (!request || BPF_CORE_READ(splice, flags) & SPLICE_F_FD_IN_FIXED)
		return IO_INPUT_UNKNOWN;
	return 1 + io_target_of((uint64_t)bpf_get_current_task_btf(), BPF_CORE_READ(splice, splice_fd_in));
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
	if (!(flags & IO_REQUEST))
		return 0;
	pending.call = io_uring_call(opcode);
	if (pending.call == IO_CALL_NONE)
		return 0;
	if (request->flags & IO_URING_SKIPS_COMPLETION) {
		sonde_lose(IO_LOSS_NOT_FOLLOWED, 1);
		return 0;
	}
	if (pending.call == IO_CALL_SPLICE)
		pending.input = io_splice_input(request);
	note = io_request_note(flags, pending.call, IO_FILE);
	pending.slot = state->slot;
	pending.flags = flags;
	/* The file is not looked up yet: if files are not asked for, it may be a stream. */
	pending.start = io_start(pending.slot, flags, note ? note : io_request_note(flags, pending.call, IO_OTHER));
	if (bpf_map_update_elem(&io_requests, &key, &pending, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	if (pending.call == IO_CALL_MULTISHOT || io_state[IO_OVERFLOWS])
		io_note_user_data((uint64_t)request->ctx, request->cqe.user_data, key, pending.call);
	return 0;
}

/* A completion whose begin is not in the table: nobody asked for it, mostly. Requests end in the context of their own
 * process, so the running task tells. */
sonde_slow int io_lose_request(struct io_kiocb *request)
{
	struct sonde_task *state = sonde_task_of(bpf_get_current_task_btf());
	uint32_t note, flags;

	if (!state)
		return 0;
	flags = state->flags[SONDE_MODULE_ID];
	/* One that failed may never have begun: the ring refused it as it stood. */
	if (!(flags & IO_REQUEST) || BPF_CORE_READ(request, cqe.res) < 0)
		return 0;
	note = io_request_note(flags, io_uring_call(BPF_CORE_READ(request, opcode)),
			       io_target_of_file((uint64_t)BPF_CORE_READ(request, file)));
	if (note)
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

/* Since 6.16 the third argument is the completion itself; before, the third and fourth are what it says. Compared are
 * the kinds of the arguments only; the ring's type must be one that is defined in this object. */
typedef void (*btf_trace_io_uring_complete___since_6_16)(void *, struct io_uring_cqe *ring, void *, struct io_uring_cqe *);

/* `request` is 0 for the completions of a multishot request but the last. */
SEC("tp_btf/io_uring_complete")
int io_uring_complete(uint64_t *ctx)
{
	uint64_t ring = ctx[0], key = ctx[1], *arguments = ctx;
	struct io_request *pending;
	struct io_request taken;

	if (!key) {
		if (bpf_core_type_exists(btf_trace_io_uring_complete___since_6_16)) {
			struct io_uring_cqe *end = (void *)ctx[2];

			return io_multishot_goes_on(ring, BPF_CORE_READ(end, user_data), BPF_CORE_READ(end, res));
		}
		barrier_var(arguments); /* where there is no fourth, it must not be read beforehand */
		return io_multishot_goes_on(ring, arguments[2], (int32_t)arguments[3]);
	}
	if (io_state[IO_OVERFLOWS] && !io_state[IO_TOLD_ONCE])
		io_note_told(ring, BPF_CORE_READ((struct io_kiocb *)key, cqe.user_data));
	pending = bpf_map_lookup_elem(&io_requests, &key);
	if (!pending)
		return io_lose_request((struct io_kiocb *)key);
	taken = *pending;
	bpf_map_delete_elem(&io_requests, &key);
	return io_request_ends(&taken, (struct io_kiocb *)key, BPF_CORE_READ((struct io_kiocb *)key, cqe.res));
}

#endif
