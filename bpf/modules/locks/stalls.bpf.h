/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stalls of RCU, from what the kernel logs of them (kernel/rcu/tree_stall.h, tree_exp.h):
 *   rcu: \t(detected by 1, t=2102 jiffies, g=4101, q=7 ncpus=2)     of another CPU; "rcu: " may be missing
 *   \t(t=2100 jiffies g=4101 q=7 ncpus=2)                           of its own
 *    } 2105 jiffies s: 541 root: 0x1/.                              of an expedited grace period
 * The number behind g= or s: is the grace period's. The kernel complains again and again of one that goes on. */
#ifndef SONDE_LOCKS_STALLS_H
#define SONDE_LOCKS_STALLS_H

#include "locks.h"
#include <sonde/who.h>

#define LOCKS_LINE 128
#define LOCKS_DIGITS 16

struct locks_line {
	char text[LOCKS_LINE];
};

/* Hash of the last grace period complained of, normal and expedited; 0: none yet. */
uint64_t locks_stalled[2] = {};

/* Where the number begins that follows ` g=` or ` s: `; 0: there is none. */
sonde_slow uint32_t locks_number_at(struct locks_line *line, char mark, char end)
{
	uint32_t i;

	if (!line)
		return 0;
	for (i = 8; i < LOCKS_LINE - 1; i++) {
		if (line->text[i] == end && line->text[i - 1] == mark && line->text[i - 2] == ' ')
			return end == ':' ? i + 2 : i + 1;
	}
	return 0;
}

/* Hash of the digits; 0: there are none. */
sonde_inline uint64_t locks_hash_of_number(const char *text)
{
	char digits[LOCKS_DIGITS] = {};
	uint64_t hash = 0;
	uint32_t i;

	if (bpf_probe_read_kernel(digits, sizeof(digits), text))
		return 0;
	for (i = 0; i < LOCKS_DIGITS; i++) {
		if (digits[i] != '-' && (digits[i] < '0' || digits[i] > '9'))
			break;
		hash = hash * 31 + digits[i];
	}
	return hash;
}

sonde_inline void locks_read_line(const char *text, uint64_t length)
{
	struct locks_line line = {};
	char *begin = line.text;
	uint64_t stall;
	uint32_t which, at;

	if (length >= LOCKS_LINE)
		length = LOCKS_LINE - 1;
	if (length < 16 || bpf_probe_read_kernel(line.text, length & (LOCKS_LINE - 1), text))
		return;
	if (begin[0] == 'r' && begin[1] == 'c' && begin[2] == 'u' && begin[3] == ':')
		begin += 5;
	which = begin[0] == ' ' && begin[1] == '}' && begin[2] == ' ';
	if (!which && !(begin[0] == '\t' && begin[1] == '(' && (begin[2] == 'd' || begin[2] == 't')))
		return;
	at = which ? locks_number_at(&line, 's', ':') : locks_number_at(&line, 'g', '=');
	if (!at || at >= length)
		return;
	stall = locks_hash_of_number(text + at);
	if (!stall || locks_stalled[which & 1] == stall)
		return;
	locks_stalled[which & 1] = stall;
	sonde_count(&locks_counters, SONDE_SLOT_NODE, LOCKS_STALL, 1);
}

SEC("tp_btf/console")
int BPF_PROG(locks_console, const char *text, uint64_t length)
{
	if (sonde_flags_of(SONDE_SLOT_NODE) & LOCKS_STALLS)
		locks_read_line(text, length);
	return 0;
}

#endif
