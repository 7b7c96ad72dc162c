/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Latency in nanoseconds to the index of an OTLP base-2 exponential histogram of scale 2 *in seconds*.
 *
 * Bucketing nanoseconds by powers of two and calling the result seconds misplaces one sample in ten, because
 * 10^9 is not 2^30. So the value is first turned into units of 2^-30 s: units = ns * 2^30 / 10^9, of which the part
 * above one is 0.073741824 = 79179681 / 2^30. Upper bounds are inclusive, as OTLP wants: bucket i holds
 * (2^((i-1)/4), 2^(i/4)] units, which is OTLP index i - 1 - 120 (value in (base^index, base^(index+1)] seconds).
 * Whole units blur the edges below some 4 microseconds.
 */
#ifndef SONDE_HISTOGRAM_H
#define SONDE_HISTOGRAM_H

#include <sonde/abi.h>

#define SONDE_HIST_SCALE 2
#define SONDE_HIST_OFFSET (-121) /* OTLP index of bucket 0: bucket i is OTLP index i + SONDE_HIST_OFFSET */

/* Beyond this the multiplication below would overflow (2^64 / 79179681 ns = 233 s); such values overflow anyway. */
#define SONDE_HIST_MAX_NS (200ULL * 1000 * 1000 * 1000)

/* Index of the bucket, SONDE_HIST_BUCKETS for a value beyond the last one. */
static inline __attribute__((always_inline)) uint32_t sonde_hist_index(uint64_t ns)
{
	uint64_t units, fixed, v;
	uint32_t msb = 0, mantissa, index;

	if (ns > SONDE_HIST_MAX_NS)
		return SONDE_HIST_BUCKETS;
	units = ns + ((ns * 79179681ULL) >> 30);
	if (units <= 1)
		return 0;
	/* Fixed point with 24 fraction bits, less the smallest step, so that an exact power of two stays at or below its
	 * upper bound. units < 2^38, so nothing is shifted out. */
	fixed = (units << 24) - 1;
	v = fixed >> 24; /* msb >= 24 since units >= 2 */
	if (v >> 32) { v >>= 32; msb += 32; }
	if (v >> 16) { v >>= 16; msb += 16; }
	if (v >> 8) { v >>= 8; msb += 8; }
	if (v >> 4) { v >>= 4; msb += 4; }
	if (v >> 2) { v >>= 2; msb += 2; }
	msb += v >> 1;
	mantissa = (uint32_t)((fixed << (39 - msb)) >> 31); /* the 32 bits below the leading one */
	index = msb * 4 + 1;
	index += mantissa >= 0x306FE0A3; /* 2^(1/4) */
	index += mantissa >= 0x6A09E667; /* 2^(2/4) */
	index += mantissa >= 0xAE89F995; /* 2^(3/4) */
	return index < SONDE_HIST_BUCKETS ? index : SONDE_HIST_BUCKETS;
}

#endif
