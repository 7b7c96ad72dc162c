// SPDX-License-Identifier: Apache-2.0
// BPF programs that are attached to nothing and run when user space wants it: iterators, and tracing programs by
// bpf_prog_test_run. For Module::begin, flush and refresh.
//
// A program that was not loaded (named as a gap in status) is passed over in silence: that is no new error.
#pragma once

#include "agent/base/result.h"

struct bpf_object;

namespace sonde {

// Descriptor of the object's program of that name; -1: not there or not loaded.
int program_fd(bpf_object* object, const char* name);

// Runs an iterator program (SEC("iter/…")) over everything it iterates.
Result<void> run_iterator(bpf_object* object, const char* name);

// Likewise for one that iterates over a map of the object (SEC("iter/bpf_sk_storage_map") and its kind).
Result<void> run_map_iterator(bpf_object* object, const char* name, const char* map);

// Runs a program once, without arguments, on this CPU.
Result<void> run_program(bpf_object* object, const char* name);

// Runs a SEC("raw_tp") program on every CPU that is online: there in an interrupt, over the task that runs.
Result<void> run_on_each_cpu(bpf_object* object, const char* name);

}  // namespace sonde
