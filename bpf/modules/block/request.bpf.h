/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a request is, and whose. */
#ifndef SONDE_BLOCK_REQUEST_H
#define SONDE_BLOCK_REQUEST_H

#include "block.h"

#include <sonde/answers.h>

#define BLOCK_LOOP_MAJOR 7  /* include/uapi/linux/major.h */
#define BLOCK_MD_MAJOR 9
#define BLOCK_OP_MASK 0xff   /* REQ_OP_MASK */
#define BLOCK_STATUS_IOERR 10 /* BLK_STS_IOERR, include/linux/blk_types.h */
#define BLOCK_EIO 5
#define BLOCK_KTHREAD 0x00200000 /* PF_KTHREAD */

/* d152c682f03c ("block: add an explicit ->disk backpointer to the request_queue", 5.15) */
struct request___before_5_15 {
	struct gendisk *rq_disk;
} __attribute__((preserve_access_index));

sonde_inline struct gendisk *disk_of(struct request *rq)
{
	if (bpf_core_field_exists(rq->q->disk))
		return rq->q->disk;
	return ((struct request___before_5_15 *)rq)->rq_disk;
}

/* A device that works by requests to other devices: those count, once. Device mapper's major number differs. */
sonde_inline bool is_stacked(struct gendisk *disk)
{
	int major = disk->major;

	return major == BLOCK_LOOP_MAJOR || major == BLOCK_MD_MAJOR ||
	       (disk->disk_name[0] == 'd' && disk->disk_name[1] == 'm' && disk->disk_name[2] == '-');
}

/* The numbers of a request's flags became an enum, and others, in 6.11 (5f89154e8e9e). */
enum rqf_flags___since_6_11 {
	__RQF_FLUSH_SEQ___since_6_11 = 1,
};

/* The request waits for a flush before or after it; it will complete again, without this flag. */
sonde_inline bool in_flush_sequence(struct request *rq)
{
	uint32_t bit = 1U << 4;

	if (bpf_core_enum_value_exists(enum rqf_flags___since_6_11, __RQF_FLUSH_SEQ___since_6_11))
		bit = 1U << bpf_core_enum_value(enum rqf_flags___since_6_11, __RQF_FLUSH_SEQ___since_6_11);
	return (uint32_t)rq->rq_flags & bit;
}

/* enum block_operation, or -1: a driver's own command, the management of zones, or a flush that the kernel makes for
 * several requests; those that asked for it are counted, each by itself. */
sonde_inline int operation_of(struct request *rq)
{
	uint32_t operation = (uint32_t)rq->cmd_flags & BLOCK_OP_MASK;
	struct bio *bio;

	if (operation == REQ_OP_READ)
		return BLOCK_READ;
	if (operation == REQ_OP_WRITE) { /* only a flush writes nothing; REQ_PREFLUSH is taken away on the way */
		bio = rq->bio;
		return bio && !bio->bi_io_vec ? BLOCK_FLUSH : BLOCK_WRITE;
	}
	if (operation == REQ_OP_DISCARD || operation == REQ_OP_SECURE_ERASE)
		return BLOCK_DISCARD;
	if (operation == REQ_OP_WRITE_ZEROES)
		return BLOCK_WRITE;
	/* It was 13 before 6.4. */
	if (bpf_core_enum_value_exists(enum req_op, REQ_OP_ZONE_APPEND) &&
	    operation == bpf_core_enum_value(enum req_op, REQ_OP_ZONE_APPEND))
		return BLOCK_WRITE;
	return -1;
}

/* Whose the request is, as its first bio says: who dirties that file, asked for the read-ahead or did the direct I/O.
 * Bios of different cgroups are not merged (6b2b04590b51, 5.18). */
struct block_owner {
	uint64_t cgroup; /* v2 id; 0: not said (the controller is on a v1 hierarchy, or there is no bio) */
	bool exact;      /* false: the io controller is not enabled below that cgroup, it may be one of its descendants */
};

sonde_inline struct block_owner owner_of(struct request *rq)
{
	struct block_owner owner = {};
	struct bio *bio = rq->bio;
	struct blkcg_gq *group;
	struct cgroup *cgroup;

	if (!bio || !bpf_core_field_exists(bio->bi_blkg))
		return owner;
	group = bio->bi_blkg;
	if (!group)
		return owner;
	cgroup = group->blkcg->css.cgroup;
	if (cgroup->root->hierarchy_id != 0)
		return owner;
	owner.cgroup = cgroup->kn->id;
	owner.exact = !cgroup->nr_descendants ||
		      (cgroup->subtree_ss_mask & 1U << bpf_core_enum_value(enum cgroup_subsys_id, io_cgrp_id));
	return owner;
}

#endif
