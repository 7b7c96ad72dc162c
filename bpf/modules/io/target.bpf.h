/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is behind a file descriptor of the running task? Asked when a call begins: close() leaves nothing to ask. */
#ifndef SONDE_IO_TARGET_H
#define SONDE_IO_TARGET_H

#include "io.h"

#include <sonde/file.h>
#include <sonde/inode.h>
#include <sonde/who.h>

#define FMODE_WRITE 2 /* include/linux/fs.h */

/* Terminals by major number (Documentation/admin-guide/devices.txt): their file_operations cannot be named from here. */
sonde_inline int io_is_tty(uint32_t device)
{
	uint32_t major = device >> 20;

	return major == 4 || major == 5 || (major >= 136 && major <= 143) || major == 166 || major == 188 ||
	       major == 204 || major == 229;
}

sonde_inline uint32_t io_target_of_mode(uint32_t mode, uint32_t flags, uint32_t device)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return flags & S_ANON_INODE ? IO_OTHER : IO_FILE;
	case S_IFDIR:
	case S_IFBLK:
	case S_IFLNK:
		return IO_FILE;
	case S_IFSOCK:
		return IO_SOCKET;
	case S_IFIFO:
		return IO_PIPE;
	case S_IFCHR:
		return io_is_tty(device) ? IO_TTY : IO_OTHER;
	}
	return IO_OTHER;
}

/* `file` is an address; 0: no file. */
sonde_inline uint32_t io_target_of_file(uint64_t file)
{
	if (!file)
		return IO_FILE;
	if (sonde_have_cast) {
		struct inode *inode = sonde_cast((void *)file, struct file)->f_inode;
		uint32_t mode = inode->i_mode;

		if ((mode & S_IFMT) == S_IFREG) /* most are */
			return inode->i_flags & S_ANON_INODE ? IO_OTHER : IO_FILE;
		return io_target_of_mode(mode, 0, inode->i_rdev);
	} else {
		struct inode *inode = BPF_CORE_READ((struct file *)file, f_inode);
		uint32_t mode = BPF_CORE_READ(inode, i_mode);

		if ((mode & S_IFMT) == S_IFCHR)
			return io_target_of_mode(mode, 0, BPF_CORE_READ(inode, i_rdev));
		return io_target_of_mode(mode, 0, 0); /* without the cast it is before 6.2: no S_ANON_INODE */
	}
}

/* The address of the struct file, 0 if the number is not open. */
sonde_inline uint64_t io_file_of(uint64_t current, uint32_t fd)
{
	if (sonde_have_cast) {
		return sonde_file_by_cast(sonde_cast((void *)current, struct task_struct)->files->fdt, fd);
	} else {
		return sonde_file_of(bpf_get_current_task_btf()->files->fdt, fd);
	}
}

/* Is it open for writing? Of a pipe: is it the end to write to? */
sonde_inline bool io_writable(uint64_t current, uint32_t fd)
{
	uint64_t file = io_file_of(current, fd);

	return file && BPF_CORE_READ((struct file *)file, f_mode) & FMODE_WRITE;
}

/* enum io_target. `current`: address of the running task. */
sonde_inline uint32_t io_target_of(uint64_t current, uint32_t fd)
{
	return io_target_of_file(io_file_of(current, fd));
}

#endif
