/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Types of files, as i_mode and i_flags tell them (include/uapi/linux/stat.h); macros are not in vmlinux.h. */
#ifndef SONDE_INODE_H
#define SONDE_INODE_H

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000

/* cfd86ef7e8e7 ("anon_inode: use a proper mode internally", 6.16): eventfd, epoll and their kind, whose mode had no type
 * before, look like regular files but for this flag of i_flags (include/linux/fs.h), which no other kernel uses. */
#define S_ANON_INODE (1 << 19)

#endif
