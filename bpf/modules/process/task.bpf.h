/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the process probe keeps of each task. */
#ifndef SONDE_PROCESS_TASK_BPF_H
#define SONDE_PROCESS_TASK_BPF_H

struct process_task {
	uint64_t exited; /* 1: the end of the process that it leads is counted */
};

#endif
