// SPDX-License-Identifier: Apache-2.0
// sonde.thread.time: the states add up to threads times wall time, whatever the threads do.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/support/thread_time_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("ThreadTimeTest.*", Trait::PodView, Trait::Preemption);
SONDE_TRAITS("ThreadTimeCleanupTest.*", Trait::Preemption);

TEST_F(ThreadTimeTest, WaitingForAMutexIsLock) {
  auto& box = cgroup("mutex");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  Measured measured;
  HeldProcess process(box, {[] {},
                            [&] {
                              pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
                              pthread_mutex_lock(&mutex);
                              std::thread other([&] {
                                measured.during([&] { pthread_mutex_lock(&mutex); });
                                pthread_mutex_unlock(&mutex);
                              });
                              sleep_ms(300);
                              pthread_mutex_unlock(&mutex);
                              measured.during([&] { other.join(); });
                            }});
  process.step(0);
  const auto before = thread_time(box);
  process.step(1);
  const auto time = thread_time(box) - before;
  EXPECT_GE(time.state[SCHED_THREAD_LOCK], measured.ns() - time.on_or_waiting() - 2 * kMillisecond) << time;
  EXPECT_LE(time.state[SCHED_THREAD_LOCK], measured.ns() + 2 * kMillisecond) << time;
  expect_no_other(time);
}

TEST_F(ThreadTimeTest, WaitingForAChildIsSleepOfBoth) {
  auto& box = cgroup("parent");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  Measured lives;
  HeldProcess process(box, {[] {},
                            [&] {
                              for (int i = 0; i < 30; ++i) {
                                lives.during([] {
                                  const pid_t child = fork();
                                  if (child == 0) {
                                    sleep_ms(10);
                                    _exit(0);
                                  }
                                  EXPECT_EQ(waitpid(child, nullptr, 0), child);
                                });
                              }
                            }});
  process.step(0);
  const auto before = thread_time(box);
  process.step(1);
  const auto time = thread_time(box) - before;
  const int64_t truth = time.at + lives.ns();  // the parent all the time, children one after another
  EXPECT_LE(time.sum(), truth + truth / 100) << time;
  // A child begins a little after fork() was called, and ends a little before its parent knows.
  EXPECT_GE(time.sum(), truth - truth / 100 - time.on_or_waiting()) << time;
  EXPECT_GE(time.state[SCHED_THREAD_SLEEP], truth - time.on_or_waiting() * 2 - truth / 50) << time;
  expect_no_other(time);
}

TEST_F(ThreadTimeTest, StoppedBySignalAndByTheFreezerIsStopped) {
  auto& box = cgroup("stopped");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  HeldProcess process(box, {[] {}});
  process.step(0);
  auto before = thread_time(box);
  ASSERT_EQ(kill(process.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(waitpid(process.pid(), &status, WUNTRACED), process.pid());
  auto begin = now_ns();
  sleep_ms(300);
  auto stopped = now_ns() - begin;
  ASSERT_EQ(kill(process.pid(), SIGCONT), 0);
  process.step(0);
  auto time = thread_time(box) - before;
  expect_sum(time, 1);
  EXPECT_GE(time.state[SCHED_THREAD_STOPPED], stopped - 5 * kMillisecond) << time;

  before = thread_time(box);
  const auto frozen = [&] {
    std::ifstream events(box.directory() + "/cgroup.events");
    for (std::string key, value; events >> key >> value;) {
      if (key == "frozen") return value == "1";
    }
    return false;
  };
  std::ofstream(box.directory() + "/cgroup.freeze") << 1 << std::flush;
  for (int i = 0; i < 1000 && !frozen(); ++i) sleep_ms(2);
  ASSERT_TRUE(frozen());
  begin = now_ns();
  sleep_ms(300);
  stopped = now_ns() - begin;
  std::ofstream(box.directory() + "/cgroup.freeze") << 0 << std::flush;
  process.step(0);
  time = thread_time(box) - before;
  expect_sum(time, 1);
  EXPECT_GE(time.state[SCHED_THREAD_STOPPED], stopped - 5 * kMillisecond) << time;
}

TEST_F(ThreadTimeTest, WritingAndReadingADiskIsDisk) {
  auto& box = cgroup("disk");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  Measured measured;
  const std::string path = "/tmp/sonde-thread-time-" + std::to_string(getpid());
  HeldProcess process(box, {[] {},
                            [&] {
                              const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                              EXPECT_GE(file, 0);
                              const std::string much(1 << 16, 'x');
                              for (int i = 0; i < 40; ++i) {
                                EXPECT_EQ(write(file, much.data(), much.size()), static_cast<ssize_t>(much.size()));
                                measured.during([&] { EXPECT_EQ(fsync(file), 0); });
                              }
                              close(file);
                              unlink(path.c_str());
                            }});
  process.step(0);
  const auto before = thread_time(box);
  process.step(1);
  const auto time = thread_time(box) - before;
  expect_sum(time, 1);
  EXPECT_GE(time.state[SCHED_THREAD_DISK],
            measured.ns() - time.on_or_waiting() - time.state[SCHED_THREAD_LOCK] - 2 * kMillisecond)
      << time;
  EXPECT_GT(time.state[SCHED_THREAD_DISK], 0) << time;
  expect_no_other(time);
}

// Two that write to one file on one CPU: whoever is preempted holds the inode's lock, for which the other has to sleep.
TEST_F(ThreadTimeTest, ALockOfTheKernelIsLock) {
  if (!engine().features().has_tracepoint("contention_begin"))
    GTEST_SKIP() << "this kernel has no lock:contention_begin";
  auto& box = cgroup("contended");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  const int cpu = usable_cpus().front();
  const std::string path = "/dev/shm/sonde-thread-time-" + std::to_string(getpid());
  const auto work = [&] {
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::string much(1 << 22, 'x');
    pin_to(cpu);
    for (const int64_t end = now_ns() + 600 * kMillisecond; now_ns() < end;) {
      EXPECT_EQ(pwrite(file, much.data(), much.size(), 0), static_cast<ssize_t>(much.size()));
    }
    close(file);
  };
  HeldProcess one(box, {[] {}, work});
  HeldProcess two(box, {[] {}, work});
  one.step(0);
  two.step(0);
  const auto before = thread_time(box);
  one.begin(1);
  two.begin(1);
  one.finish();
  two.finish();
  const auto time = thread_time(box) - before;
  unlink(path.c_str());
  expect_sum(time, 2);
  EXPECT_GT(time.state[SCHED_THREAD_LOCK], 10 * kMillisecond) << time;
  EXPECT_LE(time.state[SCHED_THREAD_DISK], time.sum() / 100) << time;
  expect_no_other(time);
}

TEST_F(ThreadTimeTest, RunningAndRunnableAreTheKernelsFigures) {
  auto& box = cgroup("pair");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  const int cpu = usable_cpus().front();
  const std::vector<std::function<void()>> work = {[] {},
                                                   [&] {
                                                     pin_to(cpu);
                                                     for (int i = 0; i < 10; ++i) {
                                                       burn_ms(15);
                                                       sleep_ms(1);
                                                     }
                                                   }};
  HeldProcess one(box, work);
  HeldProcess two(box, work);
  one.step(0);
  two.step(0);
  TaskFigures figures_before = one.figures();
  figures_before += two.figures();
  const auto before = thread_time(box);
  one.begin(1);
  two.begin(1);
  one.finish();
  two.finish();
  TaskFigures truth = one.figures();
  truth += two.figures();
  truth = truth - figures_before;
  const auto time = thread_time(box) - before;
  expect_sum(time, 2);
  // The kernel measures waits by the run queue's clock, which is not the one that the sum is measured by.
  EXPECT_NEAR(static_cast<double>(time.state[SCHED_THREAD_RUNNABLE]), static_cast<double>(truth.wait_ns),
              static_cast<double>(truth.wait_ns) * 0.03)
      << time;
  // Running is wall time on a CPU: what a hypervisor or interrupts take there is part of it, and not of the kernel's figure.
  EXPECT_GE(time.state[SCHED_THREAD_RUNNING], static_cast<int64_t>(truth.oncpu_ns) * 99 / 100) << time;
}

TEST_F(ThreadTimeTest, ThreadsThatSleepAllTheTimeAreThereFromSelectionOn) {
  auto& box = cgroup("old");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  HeldProcess process(box, {[&] {
                        for (int i = 0; i < 9; ++i) {
                          std::thread([&] {
                            char byte = 0;
                            EXPECT_EQ(read(ends[0], &byte, 1), 1);
                          }).detach();
                        }
                      }});
  process.step(0);
  sleep_ms(200);  // not counted
  const int64_t begin = now_ns();
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  const int64_t selecting = now_ns() - begin;
  const int64_t selected = begin + selecting / 2;
  sleep_ms(500);
  auto time = thread_time(box);
  time.at -= selected;
  expect_sum(time, 10, 10 * selecting);
  EXPECT_GE(time.state[SCHED_THREAD_SLEEP], time.sum() * 95 / 100) << time;

  // Not asked any more and asked again: what was in between is nobody's.
  const auto before = thread_time(box);
  select(box, {{"sched", SCHED_FLAG_WAIT}});
  sleep_ms(300);
  const int64_t again = now_ns();
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  const int64_t at_last = now_ns();  // somewhere between the two it took effect
  sleep_ms(300);
  time = thread_time(box);
  EXPECT_LE((time - before).sum(), 10 * (time.at + time.blur - again) + 10 * kMillisecond * 30) << time;
  EXPECT_GE((time - before).sum(), 10 * (time.at - time.blur - at_last) * 95 / 100) << time;
}

TEST_F(ThreadTimeTest, AThreadThatNeverLeavesItsCpuRuns) {
  const auto cpus = usable_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  auto& box = cgroup("spinner");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  HeldProcess process(box, {[&] {
                              pin_to(cpus[1]);
                              EXPECT_TRUE(be_realtime(10));
                            },
                            [] { burn_ms(500); }});
  process.step(0);
  process.begin(1);
  sleep_ms(50);  // what woke up and did not run yet is charged when it does
  auto before = thread_time(box);
  for (int i = 0; i < 3; ++i) {
    sleep_ms(100);
    const auto now = thread_time(box);
    expect_sum(now - before, 1);
    before = now;
  }
  process.finish();
}

TEST_F(ThreadTimeTest, WhatSleptInAnotherCgroupStaysThere) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  select(first, {{"sched", SCHED_FLAG_THREAD}});
  select(second, {{"sched", SCHED_FLAG_THREAD}});
  HeldProcess process(first, {[] {}});
  process.step(0);
  const auto start = thread_time(first);
  sleep_ms(300);
  const int64_t begin = now_ns();
  std::ofstream(second.directory() + "/cgroup.procs") << process.pid() << std::flush;
  const int64_t moved = now_ns();  // the write waits for grace periods of the kernel
  sleep_ms(200);
  auto there = thread_time(second);
  auto here = thread_time(first) - start;
  here.at = moved - start.at;
  there.at -= moved;
  expect_sum(here, 1, moved - begin);
  expect_sum(there, 1, moved - begin);
}

class ThreadTimeCleanupTest : public ThreadTimeTest, public ::testing::WithParamInterface<Cleanup> {};

TEST_P(ThreadTimeCleanupTest, ManyCollectionsAddUpToTheSame) {
  cleanup_ = GetParam();
  auto& box = cgroup("busy");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  const std::vector<std::function<void()>> work = {[] {},
                                                   [] {
                                                     for (int i = 0; i < 100; ++i) {
                                                       burn_ms(1);
                                                       sleep_ms(2);
                                                     }
                                                   }};
  HeldProcess one(box, work);
  HeldProcess two(box, work);
  one.step(0);
  two.step(0);
  const auto before = thread_time(box);
  one.begin(1);
  two.begin(1);
  for (int i = 0; i < 100; ++i) {
    collect();
    sleep_ms(3);
  }
  one.finish();
  two.finish();
  expect_sum(thread_time(box) - before, 2);
}

INSTANTIATE_TEST_SUITE_P(Strategies, ThreadTimeCleanupTest, ::testing::Values(Cleanup::Keep, Cleanup::Clear),
                         [](const auto& way) { return way.param == Cleanup::Keep ? "Keep" : "Clear"; });

}  // namespace
}  // namespace sonde::test
