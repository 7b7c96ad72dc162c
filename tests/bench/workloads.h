// SPDX-License-Identifier: Apache-2.0
// The kernel work whose price with probes is measured, one kind for each sort of hook.
#pragma once

#include <cstdint>
#include <functional>

namespace sonde::bench {

enum class Workload {
  Read,    // read(2) of one byte of a file in memory
  Page,    // pread(2) of 4 KiB of a cached file on disk
  Direct,  // the same past the page cache
  Switch,  // a context switch: a byte to and fro over pipes, on one CPU
  Futex,   // a wait on a futex, that another process ends
  Tcp,     // a message of 64 bytes over loopback, answered
  Fork,    // a process that ends at once
  Fault,   // the first touch of a page of memory
  Call,    // a call of measured_call()
};

// For the process that calls: makes ready what is needed (other processes too, which end with this one) and returns what
// does the work n times and tells its nanoseconds; empty where this machine cannot do it.
std::function<uint64_t(uint64_t n)> make_workload(Workload kind);

// A function of this program to attach to.
extern "C" uint64_t measured_call(uint64_t value);

}  // namespace sonde::bench
