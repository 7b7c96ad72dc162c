/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which system call is which operation, by number: of this architecture and of its 32-bit callers.
 * Sources: arch/x86/entry/syscalls/syscall_{64,32}.tbl, include/uapi/asm-generic/unistd.h, arch/arm/tools/syscall.tbl */
#ifndef SONDE_IO_CALLS_H
#define SONDE_IO_CALLS_H

#include <sonde/bpf.h>

#include "opcodes.h"

#define IO_CALL_NUMBERS 512

const uint8_t io_calls[IO_CALL_NUMBERS] = {
#if defined(__TARGET_ARCH_x86)
	[0] = IO_CALL_READ,         /* read */
	[1] = IO_CALL_WRITE,        /* write */
	[2] = IO_CALL_OPEN,         /* open */
	[3] = IO_CALL_CLOSE,        /* close */
	[4] = IO_CALL_STAT,         /* stat */
	[5] = IO_CALL_FSTAT,        /* fstat */
	[6] = IO_CALL_STAT,         /* lstat */
	[17] = IO_CALL_READ,        /* pread64 */
	[18] = IO_CALL_WRITE,       /* pwrite64 */
	[19] = IO_CALL_READ,        /* readv */
	[20] = IO_CALL_WRITE,       /* writev */
	[40] = IO_CALL_SENDFILE,    /* sendfile */
	[74] = IO_CALL_FSYNC,       /* fsync */
	[75] = IO_CALL_FSYNC,       /* fdatasync */
	[82] = IO_CALL_RENAME,      /* rename */
	[84] = IO_CALL_UNLINK,      /* rmdir */
	[85] = IO_CALL_OPEN,        /* creat */
	[87] = IO_CALL_UNLINK,      /* unlink */
	[208] = IO_CALL_AIO_EVENTS, /* io_getevents */
	[209] = IO_CALL_AIO_SUBMIT, /* io_submit */
	[257] = IO_CALL_OPEN,       /* openat */
	[262] = IO_CALL_STAT,       /* newfstatat */
	[263] = IO_CALL_UNLINK,     /* unlinkat */
	[264] = IO_CALL_RENAME,     /* renameat */
	[275] = IO_CALL_SPLICE,     /* splice */
	[276] = IO_CALL_TEE,        /* tee */
	[278] = IO_CALL_VMSPLICE,   /* vmsplice */
	[295] = IO_CALL_READ,       /* preadv */
	[296] = IO_CALL_WRITE,      /* pwritev */
	[304] = IO_CALL_OPEN,       /* open_by_handle_at */
	[316] = IO_CALL_RENAME,     /* renameat2 */
	[326] = IO_CALL_SPLICE,     /* copy_file_range */
	[327] = IO_CALL_READ,       /* preadv2 */
	[328] = IO_CALL_WRITE,      /* pwritev2 */
	[332] = IO_CALL_STAT,       /* statx */
	[333] = IO_CALL_AIO_EVENTS, /* io_pgetevents */
	[437] = IO_CALL_OPEN,       /* openat2 */
#else
	[2] = IO_CALL_AIO_SUBMIT,   /* io_submit */
	[4] = IO_CALL_AIO_EVENTS,   /* io_getevents */
	[35] = IO_CALL_UNLINK,      /* unlinkat */
	[38] = IO_CALL_RENAME,      /* renameat */
	[56] = IO_CALL_OPEN,        /* openat */
	[57] = IO_CALL_CLOSE,       /* close */
	[63] = IO_CALL_READ,        /* read */
	[64] = IO_CALL_WRITE,       /* write */
	[65] = IO_CALL_READ,        /* readv */
	[66] = IO_CALL_WRITE,       /* writev */
	[67] = IO_CALL_READ,        /* pread64 */
	[68] = IO_CALL_WRITE,       /* pwrite64 */
	[69] = IO_CALL_READ,        /* preadv */
	[70] = IO_CALL_WRITE,       /* pwritev */
	[71] = IO_CALL_SENDFILE,    /* sendfile */
	[75] = IO_CALL_VMSPLICE,    /* vmsplice */
	[76] = IO_CALL_SPLICE,      /* splice */
	[77] = IO_CALL_TEE,         /* tee */
	[79] = IO_CALL_STAT,        /* newfstatat */
	[80] = IO_CALL_FSTAT,       /* fstat */
	[82] = IO_CALL_FSYNC,       /* fsync */
	[83] = IO_CALL_FSYNC,       /* fdatasync */
	[265] = IO_CALL_OPEN,       /* open_by_handle_at */
	[276] = IO_CALL_RENAME,     /* renameat2 */
	[285] = IO_CALL_SPLICE,     /* copy_file_range */
	[286] = IO_CALL_READ,       /* preadv2 */
	[287] = IO_CALL_WRITE,      /* pwritev2 */
	[291] = IO_CALL_STAT,       /* statx */
	[292] = IO_CALL_AIO_EVENTS, /* io_pgetevents */
	[437] = IO_CALL_OPEN,       /* openat2 */
#endif
};

/* i386 and 32-bit arm agree up to 294. Used only to say how much was not counted. */
const uint8_t io_compat_calls[IO_CALL_NUMBERS] = {
	[3] = IO_CALL_READ,       /* read */
	[4] = IO_CALL_WRITE,      /* write */
	[5] = IO_CALL_OPEN,       /* open */
	[6] = IO_CALL_CLOSE,      /* close */
	[8] = IO_CALL_OPEN,       /* creat */
	[10] = IO_CALL_UNLINK,    /* unlink */
	[38] = IO_CALL_RENAME,    /* rename */
	[40] = IO_CALL_UNLINK,    /* rmdir */
	[106] = IO_CALL_STAT,     /* stat */
	[107] = IO_CALL_STAT,     /* lstat */
	[108] = IO_CALL_FSTAT,    /* fstat */
	[118] = IO_CALL_FSYNC,    /* fsync */
	[145] = IO_CALL_READ,     /* readv */
	[146] = IO_CALL_WRITE,    /* writev */
	[148] = IO_CALL_FSYNC,    /* fdatasync */
	[180] = IO_CALL_READ,     /* pread64 */
	[181] = IO_CALL_WRITE,    /* pwrite64 */
	[187] = IO_CALL_SENDFILE, /* sendfile */
	[195] = IO_CALL_STAT,     /* stat64 */
	[196] = IO_CALL_STAT,     /* lstat64 */
	[197] = IO_CALL_FSTAT,    /* fstat64 */
	[239] = IO_CALL_SENDFILE, /* sendfile64 */
#if defined(__TARGET_ARCH_x86)
	[295] = IO_CALL_OPEN,     /* openat */
	[300] = IO_CALL_STAT,     /* fstatat64 */
	[301] = IO_CALL_UNLINK,   /* unlinkat */
	[302] = IO_CALL_RENAME,   /* renameat */
	[313] = IO_CALL_SPLICE,   /* splice */
	[315] = IO_CALL_TEE,      /* tee */
	[316] = IO_CALL_VMSPLICE, /* vmsplice */
	[333] = IO_CALL_READ,     /* preadv */
	[334] = IO_CALL_WRITE,    /* pwritev */
	[342] = IO_CALL_OPEN,     /* open_by_handle_at */
	[353] = IO_CALL_RENAME,   /* renameat2 */
	[377] = IO_CALL_SPLICE,   /* copy_file_range */
	[378] = IO_CALL_READ,     /* preadv2 */
	[379] = IO_CALL_WRITE,    /* pwritev2 */
	[383] = IO_CALL_STAT,     /* statx */
#else
	[322] = IO_CALL_OPEN,     /* openat */
	[327] = IO_CALL_STAT,     /* fstatat64 */
	[328] = IO_CALL_UNLINK,   /* unlinkat */
	[329] = IO_CALL_RENAME,   /* renameat */
	[340] = IO_CALL_SPLICE,   /* splice */
	[342] = IO_CALL_TEE,      /* tee */
	[343] = IO_CALL_VMSPLICE, /* vmsplice */
	[361] = IO_CALL_READ,     /* preadv */
	[362] = IO_CALL_WRITE,    /* pwritev */
	[371] = IO_CALL_OPEN,     /* open_by_handle_at */
	[382] = IO_CALL_RENAME,   /* renameat2 */
	[391] = IO_CALL_SPLICE,   /* copy_file_range */
	[392] = IO_CALL_READ,     /* preadv2 */
	[393] = IO_CALL_WRITE,    /* pwritev2 */
	[397] = IO_CALL_STAT,     /* statx */
#endif
	[437] = IO_CALL_OPEN, /* openat2 */
};

#endif
