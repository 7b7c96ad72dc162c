/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many files are open: asked of the kernel's own tables at each collection, so there is nothing to drift. Threads that
 * share a table are visited once (203d7b054fc7, 5.11). */
#ifndef SONDE_IO_OPEN_FILES_H
#define SONDE_IO_OPEN_FILES_H

#include "operation.bpf.h"

#include <sonde/threads.h>

sonde_inline bool io_is_open_file(uint32_t mode, uint32_t flags)
{
	return io_target_of_mode(mode, flags, 0) == IO_FILE && (mode & S_IFMT) != S_IFDIR;
}

/* Where the agent's PID namespace shows the whole machine. */
SEC("iter/task_file")
int io_open_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sonde_task *state;
	int64_t *row;
	uint32_t slot, mode;

	if (!task || !file)
		return 0;
	mode = file->f_inode->i_mode;
	if (!io_is_open_file(mode, file->f_inode->i_flags))
		return 0;
	state = sonde_task_of(task);
	if (!state || !(state->flags[SONDE_MODULE_ID] & IO_OPEN_COUNT))
		return 0;
	slot = state->slot;
	row = bpf_map_lookup_elem(&io_gauges, &slot);
	if (row)
		__sync_fetch_and_add(&row[IO_OPEN_FILES_NEXT], 1);
	return 0;
}

/* Elsewhere the tables are gone through by hand, by words of the bitmap of open descriptors. A table that grows meanwhile stays
 * where it is until the end (it is freed by RCU); one whose task has let go of it is not counted. */
struct io_files_walk {
	uint64_t fd; /* struct file ** */
	uint64_t open_fds; /* unsigned long * */
	uint64_t word, bits;
	uint64_t count;
};

sonde_inline bool io_is_file_at(uint64_t place)
{
	uint64_t file = 0;

	bpf_probe_read_kernel(&file, sizeof(file), (void *)place);
	if (!file)
		return false;
	if (sonde_have_cast) {
		struct inode *inode = sonde_cast((void *)file, struct file)->f_inode;

		return inode && io_is_open_file(inode->i_mode, inode->i_flags);
	} else {
		struct inode *inode = BPF_CORE_READ((struct file *)file, f_inode);

		return inode && io_is_open_file(BPF_CORE_READ(inode, i_mode), BPF_CORE_READ(inode, i_flags));
	}
}

static long io_count_bit(uint32_t bit, struct io_files_walk *walk)
{
	if ((walk->bits >> (bit & 63)) & 1)
		walk->count += io_is_file_at(walk->fd + (walk->word * 64 + bit) * sizeof(uint64_t));
	return 0;
}

static long io_count_word(uint32_t word, struct io_files_walk *walk)
{
	walk->word = word;
	bpf_probe_read_kernel(&walk->bits, sizeof(walk->bits), (void *)(walk->open_fds + word * sizeof(walk->bits)));
	if (walk->bits)
		bpf_loop(64, io_count_bit, walk, 0);
	return 0;
}

sonde_slow int io_count_files_of(struct task_struct *task)
{
	struct io_files_walk walk = {};
	struct files_struct *files;
	struct sonde_task *state;
	struct fdtable *table;
	uint32_t slot;
	int64_t *row;

	if (!task)
		return 0;
	files = task->files;
	if (!files || (task->pid != task->tgid && files == task->group_leader->files)) /* a table of several threads: once */
		return 0;
	state = sonde_task_of(task);
	if (!state || !(state->flags[SONDE_MODULE_ID] & IO_OPEN_COUNT))
		return 0;
	table = files->fdt;
	walk.fd = (uint64_t)table->fd;
	walk.open_fds = (uint64_t)table->open_fds;
	bpf_loop(table->max_fds / 64, io_count_word, &walk, 0);
	slot = state->slot;
	row = bpf_map_lookup_elem(&io_gauges, &slot);
	if (row && task->files == files)
		__sync_fetch_and_add(&row[IO_OPEN_FILES_NEXT], walk.count);
	return 0;
}
SONDE_WALK_ALL(io_count_files, io_count_files_of)

#endif
