/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a module counts. Rows are shared by all CPUs (never one per CPU: 750 containers on 128 CPUs would leave
 * 699 bytes for each), mapped by user space, and written with atomics only.
 *
 *   SONDE_ROWS(io, IO_COUNTERS, IO_HISTOGRAMS)   declares io_counters and io_histograms: one row per slot
 *   SONDE_CELL_ROWS(io)                          declares io_cells
 *   SONDE_KEYED_HISTOGRAM_ROWS(block)            declares block_keyed
 *   SONDE_GAUGE_ROWS(io, IO_GAUGES)              declares io_gauges
 *   sonde_count(&io_counters, slot, IO_READ_BYTES, n)
 *   sonde_observe(&io_histograms, slot, IO_READ, ns)
 *   sonde_count_key(&io_cells, slot, key, n)
 *   sonde_observe_key(&block_keyed, slot, key, ns)
 *
 * SONDE_MODULE_ID must be defined by the build (-DSONDE_MODULE_ID=n).
 */
#ifndef SONDE_ROWS_H
#define SONDE_ROWS_H

#include <sonde/histogram.h>
#include <sonde/maps.h>

#define SONDE_ROWS(module, counters, histograms)                   \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                  \
		__uint(map_flags, BPF_F_MMAPABLE);                 \
		__uint(max_entries, 1);                            \
		__type(key, uint32_t);                             \
		__type(value, uint64_t[counters]);                 \
	} module##_counters SEC(".maps");                          \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                  \
		__uint(map_flags, BPF_F_MMAPABLE);                 \
		__uint(max_entries, 1);                            \
		__type(key, uint32_t);                             \
		__type(value, uint32_t[histograms]);               \
	} module##_histograms SEC(".maps")

#define SONDE_CELL_ROWS(module)                                    \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                  \
		__uint(map_flags, BPF_F_MMAPABLE);                 \
		__uint(max_entries, 1);                            \
		__type(key, uint32_t);                             \
		__type(value, struct sonde_cells);                 \
	} module##_cells SEC(".maps")

#define SONDE_KEYED_HISTOGRAM_ROWS(module)                         \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                  \
		__uint(map_flags, BPF_F_MMAPABLE);                 \
		__uint(max_entries, 1);                            \
		__type(key, uint32_t);                             \
		__type(value, struct sonde_keyed);                 \
	} module##_keyed SEC(".maps")

/* Gauges are written by the module's own means (an iterator), read by user space. */
#define SONDE_GAUGE_ROWS(module, gauges)                           \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                  \
		__uint(map_flags, BPF_F_MMAPABLE);                 \
		__uint(max_entries, 1);                            \
		__type(key, uint32_t);                             \
		__type(value, int64_t[gauges]);                    \
	} module##_gauges SEC(".maps")

/* `reason`: a constant, enum sonde_loss or one of the module's own. */
sonde_inline void sonde_lose(uint32_t reason, uint64_t n)
{
	uint32_t key = SONDE_MODULE_ID;
	struct sonde_loss_row *row = bpf_map_lookup_elem(&sonde_losses, &key);

	if (row)
		__sync_fetch_and_add(&row->count[reason], n);
}

/* `counter` must be a constant below the row's length. */
#define sonde_count(map, slot_, counter, n)                                  \
	do {                                                                 \
		uint32_t _slot = (slot_);                                    \
		uint64_t *_row = bpf_map_lookup_elem(map, &_slot);           \
		if (_row)                                                    \
			__sync_fetch_and_add(&_row[counter], (uint64_t)(n)); \
	} while (0)

/* First sample of this slot's histogram: takes a row from the pool. Two CPUs may race: the loser gives its row back. */
sonde_slow uint32_t sonde_take_row(uint32_t *index)
{
	uint32_t row = SONDE_NO_ROW, before;

	if (!index || bpf_map_pop_elem(&sonde_free_rows, &row))
		return SONDE_NO_ROW;
	before = __sync_val_compare_and_swap(index, SONDE_NO_ROW, row);
	if (before == SONDE_NO_ROW)
		return row;
	bpf_map_push_elem(&sonde_free_rows, &row, 0);
	return before;
}

sonde_inline void sonde_observe_at(uint32_t *index, uint64_t ns)
{
	struct sonde_histogram *histogram;
	uint32_t row = *(volatile uint32_t *)index, bucket;

	if (row == SONDE_NO_ROW)
		row = sonde_take_row(index);
	histogram = row == SONDE_NO_ROW ? 0 : bpf_map_lookup_elem(&sonde_histograms, &row);
	if (!histogram) {
		sonde_lose(SONDE_LOSS_NO_ROW, 1);
		return;
	}
	bucket = sonde_hist_index(ns);
	if (bucket < SONDE_HIST_BUCKETS)
		__sync_fetch_and_add(&histogram->bucket[bucket], 1);
	else
		__sync_fetch_and_add(&histogram->overflow, 1);
	__sync_fetch_and_add(&histogram->sum, ns);
}

/* `which` must be below the row's length; the verifier wants to see that if it is not a constant. */
#define sonde_observe(map, slot_, which, ns)                               \
	do {                                                               \
		uint32_t _slot = (slot_);                                  \
		uint32_t *_index = bpf_map_lookup_elem(map, &_slot);       \
		if (_index)                                                \
			sonde_observe_at(&_index[which], ns);              \
	} while (0)

/* Keys are few and events with them rare (errors, I/O), so a scan of all places is cheap enough.
 * Which place of `key` is `wanted` or has now become so; SONDE_CELLS: all belong to others. */
sonde_inline uint32_t sonde_place_of(uint32_t *key, uint32_t wanted)
{
	uint32_t i, seen;

	for (i = 0; i < SONDE_CELLS; i++) {
		seen = *(volatile uint32_t *)&key[i];
		if (!seen)
			seen = __sync_val_compare_and_swap(&key[i], 0, wanted);
		if (!seen || seen == wanted)
			break;
	}
	return i;
}

sonde_slow int sonde_count_cell(struct sonde_cells *cells, uint32_t key, uint64_t n)
{
	uint32_t place;

	if (!cells)
		return 0;
	place = sonde_place_of(cells->key, key + 1);
	__sync_fetch_and_add(place < SONDE_CELLS ? &cells->count[place] : &cells->other, n);
	return 0;
}

#define sonde_count_key(map, slot_, key, n)                                  \
	do {                                                                 \
		uint32_t _slot = (slot_);                                    \
		struct sonde_cells *_cells = bpf_map_lookup_elem(map, &_slot); \
		if (_cells)                                                  \
			sonde_count_cell(_cells, key, n);                    \
	} while (0)

sonde_slow int sonde_observe_keyed(struct sonde_keyed *keyed, uint32_t key, uint64_t ns)
{
	uint32_t place;

	if (!keyed)
		return 0;
	place = sonde_place_of(keyed->key, key + 1);
	sonde_observe_at(place < SONDE_CELLS ? &keyed->row[place] : &keyed->other_row, ns);
	return 0;
}

#define sonde_observe_key(map, slot_, key, ns)                                 \
	do {                                                                   \
		uint32_t _slot = (slot_);                                      \
		struct sonde_keyed *_keyed = bpf_map_lookup_elem(map, &_slot); \
		if (_keyed)                                                    \
			sonde_observe_keyed(_keyed, key, ns);                  \
	} while (0)

#endif
