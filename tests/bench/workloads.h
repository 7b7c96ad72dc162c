// SPDX-License-Identifier: Apache-2.0
// The work whose cost with probes is measured. What only one probe is measured with is in its folder (tests/bench/loads.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace sonde::bench {

// Does a piece of work n times and returns the nanoseconds it took; empty if this machine cannot do it.
using Run = std::function<uint64_t(uint64_t n)>;
// Called in the process that does the work: prepares what it needs (other processes too, which end with this one).
using Workload = Run (*)();

Run read_bytes();       // read(2) of one byte of a file in memory
Run switch_contexts();  // a context switch: a byte back and forth over pipes, on one CPU

// For workloads.
inline constexpr std::size_t kPage = 4096;
inline constexpr uint64_t kScratchBytes = 1 << 20;
// Ends the process if it is false: the worker gives no answer.
void must(bool condition);
// Times the whole loop, for work that needs nothing in between.
Run timed(std::function<void()> once);
// Starts a process that repeats `work` and ends with its parent.
void run_alongside(const std::function<void()>& work);
// An unlinked file of kScratchBytes, open for reading with these flags; negative if it cannot be made.
int scratch_file(const char* directory, int flags = 0);
// pread(2) of a page of a file on disk, opened with these flags.
Run read_pages(int flags);

}  // namespace sonde::bench
