/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two ends of io_uring requests are told without the request, by ring and user data alone: those that find the completion
 * queue full, and those of a multishot request but the last. A program may give several requests the same user data: what
 * cannot be told apart then is a loss. */
#ifndef SONDE_IO_BY_USER_DATA_H
#define SONDE_IO_BY_USER_DATA_H

#include "requests.bpf.h"

struct io_user_data {
	uint64_t ring; /* address of the struct io_ring_ctx */
	uint64_t user_data;
};

struct io_named {
	uint64_t request; /* the latest of this name, a key of io_requests */
	uint64_t shared;  /* another of this name was in flight */
};

/* Multishot requests, and all of watched rings. It is not cleaned: what it says holds if the request is in flight. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct io_user_data);
	__type(value, struct io_named);
} io_by_user_data SEC(".maps");

/* Rings of which the completion queue has been full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, uint64_t);
	__type(value, uint32_t);
} io_watched_rings SEC(".maps");

/* The newest completion that was told on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct io_user_data);
} io_told SEC(".maps");

sonde_slow int io_name(uint64_t ring, uint64_t user_data, uint64_t request)
{
	struct io_user_data key = {.ring = ring, .user_data = user_data};
	struct io_named *before = bpf_map_lookup_elem(&io_by_user_data, &key), now = {.request = request};

	if (before && (before->shared || before->request != request))
		now.shared = before->shared || bpf_map_lookup_elem(&io_requests, &before->request);
	if (bpf_map_update_elem(&io_by_user_data, &key, &now, BPF_ANY))
		sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
	return 0;
}

sonde_slow int io_note_user_data(uint64_t ring, uint64_t user_data, uint64_t request, uint32_t call)
{
	if (call != IO_CALL_MULTISHOT && !bpf_map_lookup_elem(&io_watched_rings, &ring))
		return 0;
	return io_name(ring, user_data, request);
}

/* The request of this name that is in flight, or 0. One that is not the one meant has another name by now. */
sonde_inline struct io_request *io_named_request(const struct io_user_data *key, const struct io_named *named)
{
	struct io_kiocb *request = (struct io_kiocb *)named->request;
	uint64_t address = named->request;

	if (BPF_CORE_READ(request, cqe.user_data) != key->user_data || (uint64_t)BPF_CORE_READ(request, ctx) != key->ring)
		return 0;
	return bpf_map_lookup_elem(&io_requests, &address);
}

/* A read of a multishot request has ended and the next one begins. */
sonde_slow int io_multishot_goes_on(uint64_t ring, uint64_t user_data, int32_t result)
{
	struct io_user_data key = {.ring = ring, .user_data = user_data};
	struct io_named *named = bpf_map_lookup_elem(&io_by_user_data, &key);
	struct io_request *pending;
	struct io_kiocb *request;
	uint32_t note;

	if (!named)
		return 0;
	request = (struct io_kiocb *)named->request;
	pending = io_named_request(&key, named);
	if (!pending || pending->call != IO_CALL_MULTISHOT) {
		if (named->shared)
			sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
		return 0;
	}
	note = io_request_note(pending->flags, IO_CALL_MULTISHOT,
			       io_target_of_file((uint64_t)BPF_CORE_READ(request, file)));
	io_count_note(pending->slot, pending->flags, note, pending->start, result);
	pending->start = io_start(pending->slot, pending->flags, note);
	return 0;
}

struct io_walk {
	uint64_t ring;
};

static long io_name_if_of_ring(struct bpf_map *map, const uint64_t *key, struct io_request *pending, struct io_walk *walk)
{
	struct io_kiocb *request = (struct io_kiocb *)*key;

	if ((uint64_t)BPF_CORE_READ(request, ctx) == walk->ring)
		io_name(walk->ring, BPF_CORE_READ(request, cqe.user_data), *key);
	return 0;
}

/* The queue of this ring is full for the first time: what is in flight gets its name now, once; what comes, when it is
 * submitted. */
sonde_slow int io_watch_ring(uint64_t ring)
{
	struct io_walk walk = {.ring = ring};
	uint32_t watched = 1;

	io_state[IO_OVERFLOWS] = 1;
	bpf_map_update_elem(&io_watched_rings, &ring, &watched, BPF_ANY);
	bpf_for_each_map_elem(&io_requests, io_name_if_of_ring, &walk, 0);
	return 0;
}

sonde_slow int io_note_told(uint64_t ring, uint64_t user_data)
{
	uint32_t zero = 0;
	struct io_user_data *told = bpf_map_lookup_elem(&io_told, &zero);

	if (told) {
		told->ring = ring;
		told->user_data = user_data;
	}
	return 0;
}

/* Kernels before 6.2 tell of each completion before they look for a place in the queue, so it is counted by now. Where
 * that is not so, the first overflow that was not told before shows it; those of the name of the newest completion, which
 * until then were taken as counted, are lost. */
sonde_slow int io_was_told(uint64_t ring, uint64_t user_data)
{
	uint32_t zero = 0;
	struct io_user_data *told = bpf_map_lookup_elem(&io_told, &zero);

	if (!told)
		return 0;
	if (told->ring == ring && told->user_data == user_data) {
		told->ring = 0;
		__sync_fetch_and_add(&io_state[IO_TAKEN_AS_TOLD], 1);
		return 1;
	}
	if (!__sync_lock_test_and_set(&io_state[IO_TOLD_ONCE], 1) && io_state[IO_TAKEN_AS_TOLD])
		sonde_lose(SONDE_LOSS_IN_FLIGHT, io_state[IO_TAKEN_AS_TOLD]);
	return 0;
}

SEC("tp_btf/io_uring_cqe_overflow")
int BPF_PROG(io_uring_overflow, void *at, unsigned long long user_data, int result)
{
	struct io_user_data key = {.ring = (uint64_t)at, .user_data = user_data};
	struct io_kiocb *request;
	uint64_t address;
	bool known = io_state[IO_OVERFLOWS];
	struct io_request *pending, taken;
	struct io_named *named;

	if (!bpf_map_lookup_elem(&io_watched_rings, &key.ring))
		io_watch_ring(key.ring);
	if (known && !io_state[IO_TOLD_ONCE] && io_was_told(key.ring, key.user_data))
		return 0;
	named = bpf_map_lookup_elem(&io_by_user_data, &key);
	if (!named)
		return 0;
	pending = io_named_request(&key, named);
	address = named->request;
	request = (struct io_kiocb *)address;
	if (pending && pending->call == IO_CALL_MULTISHOT && BPF_CORE_READ(request, cqe.res) != result)
		return io_multishot_goes_on(key.ring, key.user_data, result);
	if (!pending || BPF_CORE_READ(request, cqe.res) != result) {
		if (named->shared)
			sonde_lose(SONDE_LOSS_IN_FLIGHT, 1);
		return 0;
	}
	taken = *pending;
	bpf_map_delete_elem(&io_requests, &address);
	return io_request_ends(&taken, request, result);
}

#endif
