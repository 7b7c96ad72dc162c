// SPDX-License-Identifier: Apache-2.0
// sonde.thread.time, state memory: waits for reclaim, for the brake above memory.high, for swap. Truth: the cgroup's own
// memory.pressure, where the kernel adds up the time in which its only thread was held up for want of memory; that it spent
// on a CPU there, freeing pages itself, is running.
#include <iostream>
#include <vector>

#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/thread_time_test.h"

namespace sonde::test {
namespace {

constexpr int64_t kSlack = 5 * kMillisecond;
constexpr const char* kNoPressure = "this kernel keeps no pressure figures (psi=1 at boot)";

class ThreadMemoryTest : public ThreadTimeTest {
 protected:
  struct Stalled {
    ThreadTime time;
    int64_t kernel = 0;    // ns, of memory.pressure
    int64_t measured = 0;  // ns, by the work itself
  };
  static int64_t pressure_ns(const Cgroup& box) { return pressure_of(box, "memory")[0] * 1000; }

  // `work` by a process of its own in the box, within its limit; a neighbour without one does `same` meanwhile.
  Stalled stalled(Cgroup& box, const MemoryLimit* limit, const std::function<void()>& work,
                  const std::function<void()>& same) {
    auto& neighbour = cgroup("neighbour");
    select(box, {{"sched", SCHED_FLAG_THREAD}});
    select(neighbour, {{"sched", SCHED_FLAG_THREAD}});
    Measured measured;
    HeldProcess process(box, {[&] {
                                // Of one that changes its CPU the kernel's figure is too small: it is a mean over CPUs, each
                                // weighed by how long it had work (kernel/sched/psi.c, collect_percpu_times).
                                pin_to(0);
                                if (!limit) return;
                                limit->enter();
                                // Hardly waits for a CPU then. Not where it would be quicker than what it swaps out.
                                MUST(limit->v2() || be_realtime(10));
                              },
                              [&] { measured.during(work); }});
    HeldProcess free(neighbour, {same});
    process.step(0);
    const ThreadTime before = thread_time(box), nothing = thread_time(neighbour);
    const int64_t pressure = pressure_ns(box);
    process.step(1);
    const ThreadTime time = thread_time(box) - before;
    const int64_t kernel = pressure_ns(box) - pressure;
    free.step(0);
    EXPECT_EQ((thread_time(neighbour) - nothing).state[SCHED_THREAD_MEMORY], 0) << "who has memory waits for none";
    expect_sum(time, 1);
    std::cout << time << ", " << kernel / 1000 << " us of pressure, " << measured.ns() / 1000 << " us at work\n";
    return {time, kernel, measured.ns()};
  }
  // What the kernel says, less what the thread ran or was runnable of it, is asleep for want of memory, and no more is.
  static void expect_truth(const Stalled& stalled) {
    const int64_t memory = stalled.time.state[SCHED_THREAD_MEMORY];
    EXPECT_LE(memory, stalled.kernel + kSlack) << stalled.time;
    EXPECT_GE(memory, stalled.kernel - stalled.time.on_or_waiting() - kSlack) << stalled.time;
    expect_no_other(stalled.time);
  }
};

// Where the limit is reached by pages that wait to be written, whoever wants more waits with them. Not on the v2 tree: there
// who dirties pages is held up before, by the disk's pace.
TEST_F(ThreadMemoryTest, WaitingInReclaimIsMemory) {
  auto& box = cgroup("reclaims");
  if (pressure_ns(box) < 0) GTEST_SKIP() << kNoPressure;
  const MemoryLimit limit(box, 16 * kMiB);
  if (!limit.usable()) GTEST_SKIP() << "there is no memory controller";
  if (limit.v2()) GTEST_SKIP() << "the memory controller is in the v2 tree: see HeldUpAboveMemoryHighIsMemory";
  const ColdFile file(kMiB);
  const auto write_much = [&] {
    const std::vector<char> part(kMiB, 'y');
    for (int64_t i = 0; i < 400; ++i) MUST(pwrite(file.fd(), part.data(), part.size(), i % 64 * kMiB) == kMiB);
  };
  const Stalled did = stalled(box, &limit, write_much, [] { touch(anonymous(8 * kMiB), 8 * kMiB); });
  expect_truth(did);
  EXPECT_LE(did.time.state[SCHED_THREAD_MEMORY], did.measured + kSlack) << did.time;
  EXPECT_GT(did.time.state[SCHED_THREAD_MEMORY], 0) << did.time;
}

TEST_F(ThreadMemoryTest, HeldUpAboveMemoryHighIsMemory) {
  auto& box = cgroup("high");
  if (pressure_ns(box) < 0) GTEST_SKIP() << kNoPressure;
  if (!write_to(box.directory() + "/memory.high", std::to_string(8 * kMiB))) {
    GTEST_SKIP() << "no memory controller in the v2 tree";
  }
  write_to(box.directory() + "/memory.swap.max", "0");
  const auto grow = [](int64_t least_ns) {
    char* memory = anonymous(64 * kMiB);
    const int64_t begin = now_ns();
    for (int64_t at = 0; at < 64 * kMiB && (at < 9 * kMiB || now_ns() - begin < least_ns); at += 64 * kPage) {
      touch(memory + at, 64 * kPage);
    }
  };
  const Stalled did = stalled(
      box, nullptr, [&] { grow(3000 * kMillisecond); }, [&] { grow(0); });
  expect_truth(did);
  const int64_t memory = did.time.state[SCHED_THREAD_MEMORY];
  EXPECT_GT(memory, 300 * kMillisecond) << did.time;
  // It does nothing but touch memory, so all that it did not run is this.
  EXPECT_GE(memory, did.measured - did.time.on_or_waiting() - kSlack) << did.time;
  EXPECT_LE(memory, did.measured + kSlack) << did.time;
}

// Of a page that comes back from swap the kernel says that memory is short only if it was in use when it went (workingset);
// for the others a thread waits as for any page of a disk.
TEST_F(ThreadMemoryTest, WaitingForSwapIsMemoryOrDisk) {
  if (!std::getenv("SONDE_TEST_VM")) GTEST_SKIP() << "it would change this machine's swap: only in a virtual one";
  auto& box = cgroup("swaps");
  if (pressure_ns(box) < 0) GTEST_SKIP() << kNoPressure;
  const MemoryLimit limit(box, 16 * kMiB, true);
  if (!limit.usable()) GTEST_SKIP() << "there is no memory controller";
  const SwapFile swap(96 * kMiB);
  if (!swap.on()) GTEST_SKIP() << "the kernel takes no swap file in /tmp";
  const Stalled did = stalled(
      box, &limit,
      [] {
        spare_from_kills();
        char* memory = anonymous(40 * kMiB);
        for (int i = 0; i < 4; ++i) touch(memory, 40 * kMiB);
      },
      [] { touch(anonymous(8 * kMiB), 8 * kMiB); });
  expect_truth(did);
  const auto& state = did.time.state;
  EXPECT_GE(state[SCHED_THREAD_MEMORY] + state[SCHED_THREAD_DISK],
            did.measured - did.time.on_or_waiting() - state[SCHED_THREAD_LOCK] - kSlack)
      << did.time;
  EXPECT_GT(state[SCHED_THREAD_MEMORY] + state[SCHED_THREAD_DISK], 0) << did.time;
}

}  // namespace
}  // namespace sonde::test
