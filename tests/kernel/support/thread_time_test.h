// SPDX-License-Identifier: Apache-2.0
// What the tests of sonde.thread.time share. Truth: what the workload itself measured around the call that it waited in; what
// it did not wait it ran or was runnable.
#pragma once

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <ostream>

#include "tests/kernel/support/sched_test.h"

namespace sonde::test {

inline constexpr std::array<const char*, SCHED_THREAD_STATES> kNames = {
    "running", "runnable", "disk", "network", "lock", "memory", "sleep", "stopped", "other"};

inline int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

struct ThreadTime {
  std::array<int64_t, SCHED_THREAD_STATES> state{};
  int64_t at = 0;    // when it was collected
  int64_t blur = 0;  // how long that took: threads are charged one after another
  int64_t sum() const { return std::accumulate(state.begin(), state.end(), int64_t{0}); }
  int64_t on_or_waiting() const { return state[SCHED_THREAD_RUNNING] + state[SCHED_THREAD_RUNNABLE]; }
  ThreadTime operator-(const ThreadTime& before) const {
    ThreadTime difference{state, at - before.at, blur + before.blur};
    for (std::size_t i = 0; i < state.size(); ++i) difference.state[i] -= before.state[i];
    return difference;
  }
};

inline std::ostream& operator<<(std::ostream& out, const ThreadTime& time) {
  for (std::size_t i = 0; i < kNames.size(); ++i) out << kNames[i] << " " << time.state[i] / 1000 << " us, ";
  return out << "in " << time.at / 1000 << " us";
}

// Time that the workload spent in the calls that this is about, in memory that it shares with the test.
class Measured {
 public:
  Measured()
      : ns_(static_cast<int64_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Measured() { munmap(ns_, 4096); }
  Measured(const Measured&) = delete;
  Measured& operator=(const Measured&) = delete;
  int64_t ns() const { return __atomic_load_n(ns_, __ATOMIC_ACQUIRE); }
  void during(const std::function<void()>& call) {
    const int64_t begin = now_ns();
    call();
    __atomic_add_fetch(ns_, now_ns() - begin, __ATOMIC_RELEASE);
  }

 private:
  int64_t* ns_;
};

class ThreadTimeTest : public SchedTest {
 protected:
  ThreadTime thread_time(const Cgroup& box) {
    ThreadTime time;
    const int64_t begin = now_ns();
    collect();
    time.blur = now_ns() - begin;
    time.at = begin + time.blur / 2;
    for (std::size_t i = 0; i < kNames.size(); ++i) time.state[i] = total(box, "sonde.thread.time", {kNames[i]});
    return time;
  }
  // Within 1 %, or what the collections took, which is much on an emulated machine. `more`: how well the begin is known.
  static void expect_sum(const ThreadTime& time, int64_t threads, int64_t more = 0) {
    const int64_t truth = threads * time.at;
    EXPECT_NEAR(static_cast<double>(time.sum()), static_cast<double>(truth),
                std::max(static_cast<double>(truth) * 0.01, 6e6 * static_cast<double>(threads)) +
                    static_cast<double>(threads * time.blur + more))
        << time;
  }
  // These loads wait for nothing that has no state of its own.
  static void expect_no_other(const ThreadTime& time) {
    EXPECT_LE(time.state[SCHED_THREAD_OTHER], kMillisecond) << time;
  }
};

}  // namespace sonde::test
