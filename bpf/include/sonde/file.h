/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a file descriptor to its struct file: the address, 0 if the number is not open. Tracing programs run under RCU, which
 * keeps the table; loads of a struct file that is being reused cannot fault. */
#ifndef SONDE_FILE_H
#define SONDE_FILE_H

#include <sonde/shims.h>

sonde_inline uint64_t sonde_file_of(struct fdtable *table, uint32_t fd)
{
	uint64_t file = 0;

	if (fd < table->max_fds)
		bpf_probe_read_kernel(&file, sizeof(file), (void *)((uint64_t)table->fd + fd * 8ULL));
	return file;
}

/* The same without a helper call, for hooks that fire often. Only where sonde_have_cast is true. */
sonde_inline uint64_t sonde_file_by_cast(struct fdtable *table, uint32_t fd)
{
	if (fd >= table->max_fds)
		return 0;
	/* A pointer out of an array of pointers: read as the only member of a struct. */
	return (uint64_t)sonde_cast((void *)((uint64_t)table->fd + fd * 8ULL), struct hlist_head)->first;
}

#endif
