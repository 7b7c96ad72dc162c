/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many files are open: asked of the kernel's own tables at each collection, so there is nothing to drift. Threads that
 * share a table are visited once (203d7b054fc7, 5.11). */
#ifndef SONDE_IO_OPEN_FILES_H
#define SONDE_IO_OPEN_FILES_H

#include "operation.h"

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
	if (io_target_of_mode(mode, file->f_inode->i_flags, 0) != IO_FILE || (mode & S_IFMT) == S_IFDIR)
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

#endif
