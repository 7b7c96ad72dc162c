/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the cache probe keeps of each task. */
#ifndef SONDE_CACHE_TASK_BPF_H
#define SONDE_CACHE_TASK_BPF_H

struct cache_task {
	uint64_t request; /* what it requested last, cache_request(); 0: nothing */
	uint64_t files;   /* the files of which it has ever brought pages in, as a set of hashes; 0: none */
};

#endif
