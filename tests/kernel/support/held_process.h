// SPDX-License-Identifier: Apache-2.0
// A process that works in steps and sleeps in between. While it sleeps the kernel's figures of it stand still, so they
// can be compared with what was counted to the last nanosecond and switch.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {

// /proc/<pid>/schedstat, status and sched, of the process's only thread.
struct TaskFigures {
  uint64_t oncpu_ns = 0;
  uint64_t wait_ns = 0;
  uint64_t arrivals = 0;
  uint64_t voluntary = 0;
  uint64_t involuntary = 0;
  uint64_t migrations = 0;  // 0 if the kernel has no /proc/<pid>/sched
  TaskFigures operator-(const TaskFigures& before) const;
  TaskFigures& operator+=(const TaskFigures& other);
};
TaskFigures figures_of(const std::string& directory);  // /proc/<pid> or /proc/<pid>/task/<tid>
TaskFigures figures_of(pid_t pid);
bool has_migration_figures();

class HeldProcess {
 public:
  // In `cgroup`, asleep before its first step when this returns.
  HeldProcess(const Cgroup& cgroup, std::vector<std::function<void()>> steps);
  ~HeldProcess();
  HeldProcess(const HeldProcess&) = delete;
  HeldProcess& operator=(const HeldProcess&) = delete;

  pid_t pid() const { return pid_; }
  void begin(std::size_t step);  // lets it work
  void finish();                 // waits until it is done and asleep again
  void step(std::size_t number) {
    begin(number);
    finish();
  }
  TaskFigures figures() const { return figures_of(pid_); }

 private:
  void wait_until_asleep() const;

  Fd commands_;
  Fd answers_;
  pid_t pid_ = -1;
};

// A number that a test and the processes it starts share.
class SharedNumber {
 public:
  SharedNumber();
  ~SharedNumber();
  SharedNumber(const SharedNumber&) = delete;
  SharedNumber& operator=(const SharedNumber&) = delete;
  void set(int value) { __atomic_store_n(number_, value, __ATOMIC_RELEASE); }
  int get() const { return __atomic_load_n(number_, __ATOMIC_ACQUIRE); }
  bool wait_for(int value) const;  // false if it is not set within a minute

 private:
  int* number_;
};

// Waits until a process's main thread sleeps in this system call; false if it does not within a minute.
bool wait_until_blocked_in(pid_t pid, long system_call);

int64_t thread_cpu_ns();
// Uses a CPU for so long (CPU time of the calling thread).
void burn_ms(int milliseconds);
// Keeps the calling thread on one CPU.
void pin_to(int cpu);
// CPUs that this process may use.
std::vector<int> usable_cpus();
// SCHED_FIFO for the calling thread; false where that is not allowed.
bool be_realtime(int priority);

}  // namespace sonde::test
