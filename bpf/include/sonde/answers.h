/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* "Is this cgroup measured by this module?" for hooks that fire often and for everybody: answers are remembered per CPU,
 * by cgroup. What nobody measures costs some 10 ns so, where task storage takes 20 and the two tables 30.
 *
 *   SONDE_ANSWERS(cache)                      declares cache_answers
 *   sonde_answer(&cache_answers, id, &flags)  slot and flags of a cgroup, as sonde_slot_of_cgroup
 *   sonde_may_ask(&cache_answers, task, 4)    is one of these flags asked of this task's container?
 *
 * An entry is two words and valid only if they fit together: an interrupt that writes the same entry in between leaves a
 * pair that does not. It holds for one generation: no answer is older than the last policy change. */
#ifndef SONDE_ANSWERS_H
#define SONDE_ANSWERS_H

#include <sonde/who.h>

#define SONDE_ANSWERED 64 /* a power of two */
#define SONDE_ANSWER_PROCESSES (1U << 31)

struct sonde_answered {
	uint64_t tag;    /* cgroup id, exclusive-or answer */
	uint64_t answer; /* generation, "processes have slots of their own" (1 bit), slot (23), flags (8) */
};

#define SONDE_ANSWERS(module)                              \
	struct {                                           \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);   \
		__uint(max_entries, SONDE_ANSWERED);       \
		__type(key, uint32_t);                     \
		__type(value, struct sonde_answered);      \
	} module##_answers SEC(".maps")

/* Asks the two tables. */
sonde_slow uint64_t sonde_answer_anew(uint64_t cgroup_id, uint32_t generation)
{
	struct sonde_subject *subject = bpf_map_lookup_elem(&sonde_subjects, &cgroup_id);
	uint32_t slot = subject ? subject->slot : SONDE_SLOT_UNATTRIBUTED;
	struct sonde_slot_config *config = bpf_map_lookup_elem(&sonde_slot_config, &slot);
	uint64_t answer = (uint64_t)generation << 32 | (uint64_t)(slot & 0x7fffff) << 8;

	if (!config)
		return answer;
	if (config->per_process)
		answer |= SONDE_ANSWER_PROCESSES;
	return answer | config->flags[SONDE_MODULE_ID];
}

/* The lower half of an answer. */
sonde_inline uint32_t sonde_ask(void *answers, uint64_t cgroup_id)
{
	struct sonde_globals *globals = sonde_global();
	uint32_t place = (uint32_t)(cgroup_id ^ (cgroup_id >> 6)) & (SONDE_ANSWERED - 1), generation;
	struct sonde_answered *answered = bpf_map_lookup_elem(answers, &place);
	uint64_t tag, answer;

	if (!globals || !answered)
		return SONDE_SLOT_UNATTRIBUTED << 8;
	generation = *(volatile uint32_t *)&globals->generation; /* first: rather too old than too new */
	tag = *(volatile uint64_t *)&answered->tag;
	answer = *(volatile uint64_t *)&answered->answer;
	if ((tag ^ answer) == cgroup_id && answer >> 32 == generation)
		return (uint32_t)answer;
	answer = sonde_answer_anew(cgroup_id, generation);
	*(volatile uint64_t *)&answered->tag = cgroup_id ^ answer;
	*(volatile uint64_t *)&answered->answer = answer;
	return (uint32_t)answer;
}

/* Processes are not told apart: no task is known. */
sonde_inline uint32_t sonde_answer(void *answers, uint64_t cgroup_id, uint8_t *flags)
{
	uint32_t answer = sonde_ask(answers, cgroup_id);

	*flags = (uint8_t)answer;
	return (answer & ~SONDE_ANSWER_PROCESSES) >> 8;
}

/* False is final: sonde_task_of would find none of these flags either. Else ask that: processes may have slots of their own. */
sonde_inline bool sonde_may_ask(void *answers, struct task_struct *task, uint8_t flags)
{
	return sonde_ask(answers, sonde_cgroup_of(task)) & (flags | SONDE_ANSWER_PROCESSES);
}

#endif
