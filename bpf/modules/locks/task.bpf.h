/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the locks probe keeps of each task. */
#ifndef SONDE_LOCKS_TASK_BPF_H
#define SONDE_LOCKS_TASK_BPF_H

struct locks_task {
	uint64_t wait; /* the wait that it is in, locks_pack(); 0: none */
};

#endif
