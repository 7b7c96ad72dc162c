/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the memory probe keeps of each task. */
#ifndef SONDE_MEMORY_TASK_BPF_H
#define SONDE_MEMORY_TASK_BPF_H

struct memory_task {
	uint64_t faults;            /* how many of its page faults are accounted for: major (32 bits), minor */
	uint64_t fault_and_reclaim; /* the fault it is in and how it last reclaimed, packed: state.bpf.h */
	uint32_t faults_owner;      /* whose page faults it has since `faults`: slot, and which of the two in the upper 8 bits */
	uint32_t faults_epoch;      /* which attachment of the programs wrote the above; 0: never seen */
};

#endif
