// SPDX-License-Identifier: Apache-2.0
// A probe that exists only in tests: what the contract offers, driven by hand.
#ifndef SONDE_TRIAL_H
#define SONDE_TRIAL_H

enum trial_counter { TRIAL_EVENTS = 0, TRIAL_NODE_EVENTS, TRIAL_COUNTERS };
enum trial_read { TRIAL_CPU_TIME = 0, TRIAL_PROCESSES, TRIAL_MADE_UP, TRIAL_READS };

#define TRIAL_FLAG 0x01
#define TRIAL_FLAG_KEYED 0x02
#define TRIAL_FLAG_NODE 0x04
#define TRIAL_FLAG_READ 0x08

#endif
