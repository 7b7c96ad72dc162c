// SPDX-License-Identifier: Apache-2.0
// sonde.thread.time, state memory: waits for reclaim, for the brake above memory.high, for swap. Truth: the cgroup's own
// memory.pressure, where the kernel adds up the time in which its only thread was held up for want of memory; that it spent
// on a CPU there, freeing pages itself, is running.
#include <iostream>
#include <vector>

#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/thread_time_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("ThreadMemoryTest.*", Trait::Equipment);

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

constexpr const char* kNotHere = "it would change this machine's swap: only in a virtual one";
constexpr const char* kNoSwap = "the kernel takes no swap file in /tmp";

// The kernel itself says so only of pages that were in use when they went (workingset).
TEST_F(ThreadMemoryTest, WaitingForSwapWhileMemoryIsShortIsMemory) {
  if (!std::getenv("SONDE_TEST_VM")) GTEST_SKIP() << kNotHere;
  auto& box = cgroup("swaps");
  if (pressure_ns(box) < 0) GTEST_SKIP() << kNoPressure;
  const MemoryLimit limit(box, 16 * kMiB, true);
  if (!limit.usable()) GTEST_SKIP() << "there is no memory controller";
  const SwapFile swap(96 * kMiB);
  if (!swap.on()) GTEST_SKIP() << kNoSwap;
  const Stalled did = stalled(
      box, &limit,
      [] {
        spare_from_kills();
        char* memory = anonymous(40 * kMiB);
        for (int i = 0; i < 4; ++i) touch(memory, 40 * kMiB);
      },
      [] { touch(anonymous(8 * kMiB), 8 * kMiB); });
  const auto& state = did.time.state;
  const int64_t memory = state[SCHED_THREAD_MEMORY];
  EXPECT_GE(memory, did.kernel - did.time.on_or_waiting() - kSlack) << did.time;
  EXPECT_GE(memory + state[SCHED_THREAD_DISK],
            did.measured - did.time.on_or_waiting() - state[SCHED_THREAD_LOCK] - kSlack)
      << did.time;
  EXPECT_LE(memory, did.measured + kSlack) << did.time;
  EXPECT_GT(memory, 20 * state[SCHED_THREAD_DISK]) << did.time;
  EXPECT_GT(memory, 0) << did.time;
  expect_no_other(did.time);
}

// A process that was pushed out as a whole and touches its pages again waits for nothing but them: all the time that this
// takes, less what it ran, is memory. The same bytes of a file, touched in the same way, are disk.
TEST_F(ThreadMemoryTest, ComingBackFromSwapIsMemoryAndTheSameFromAFileIsDisk) {
  if (!std::getenv("SONDE_TEST_VM")) GTEST_SKIP() << kNotHere;
  auto& box = cgroup("returns");
  auto& neighbour = cgroup("neighbour");
  const MemoryLimit limit(box, 256 * kMiB, true);
  if (!limit.usable() || !limit.v2()) GTEST_SKIP() << "there is no memory controller in the v2 tree";
  const SwapFile swap(96 * kMiB);
  if (!swap.on()) GTEST_SKIP() << kNoSwap;
  constexpr int64_t kBytes = 24 * kMiB;
  const ColdFile file(kBytes);
  char *swapped = nullptr, *mapped = nullptr;
  Measured from_swap, from_file;
  const auto touch_scattered = [](char* memory) {
    for (int64_t i = 0; i < kBytes / kPage; ++i) {
      static_cast<void>(const_cast<volatile char*>(memory)[i * 1009 % (kBytes / kPage) * kPage]);
    }
  };
  HeldProcess process(box, {[&] {
                              swapped = anonymous(kBytes);
                              touch(swapped, kBytes);
                              mapped = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, file.fd(), 0));
                              MUST(mapped != MAP_FAILED && madvise(mapped, kBytes, MADV_RANDOM) == 0);
                            },
                            [] {},  // its own stack and code come back
                            [&] { from_swap.during([&] { touch_scattered(swapped); }); },
                            [&] { from_file.during([&] { touch_scattered(mapped); }); }});
  HeldProcess bystander(neighbour, {[] { touch(anonymous(8 * kMiB), 8 * kMiB); }});
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  select(neighbour, {{"sched", SCHED_FLAG_THREAD}});
  process.step(0);
  ASSERT_TRUE(eventually([&] {
    write_to(box.directory() + "/memory.reclaim", std::to_string(kBytes));
    return limit.stat("anon") + limit.stat("swapcached") < kMiB;
  })) << limit.stat("anon");
  process.step(1);
  const ThreadTime before = thread_time(box), nothing = thread_time(neighbour);
  const int64_t swapped_in = number_in("/proc/vmstat", "pswpin");
  process.step(2);
  const ThreadTime after_swap = thread_time(box);
  EXPECT_GT((number_in("/proc/vmstat", "pswpin") - swapped_in) * kPage, kBytes - 2 * kMiB);
  bystander.step(0);
  process.step(3);
  const ThreadTime swap_time = after_swap - before, file_time = thread_time(box) - after_swap;
  std::cout << "from swap: " << swap_time << ", " << from_swap.ns() / 1000 << " us at work\n";
  std::cout << "from a file: " << file_time << ", " << from_file.ns() / 1000 << " us at work\n";
  expect_sum(swap_time, 1);
  expect_sum(file_time, 1);
  EXPECT_GE(swap_time.state[SCHED_THREAD_MEMORY], from_swap.ns() - swap_time.on_or_waiting() - kSlack) << swap_time;
  EXPECT_LE(swap_time.state[SCHED_THREAD_MEMORY], from_swap.ns()) << swap_time;
  EXPECT_GT(swap_time.state[SCHED_THREAD_MEMORY], from_swap.ns() / 20) << "it waited for nothing: " << swap_time;
  EXPECT_LE(swap_time.state[SCHED_THREAD_DISK], kMillisecond) << swap_time;
  EXPECT_GE(file_time.state[SCHED_THREAD_DISK], from_file.ns() - file_time.on_or_waiting() - kSlack) << file_time;
  EXPECT_GT(file_time.state[SCHED_THREAD_DISK], from_file.ns() / 20) << "it waited for nothing: " << file_time;
  EXPECT_LE(file_time.state[SCHED_THREAD_MEMORY], kMillisecond) << file_time;
  EXPECT_EQ((thread_time(neighbour) - nothing).state[SCHED_THREAD_MEMORY], 0) << "nothing of it went to swap";
}

}  // namespace
}  // namespace sonde::test
