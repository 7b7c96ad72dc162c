// SPDX-License-Identifier: Apache-2.0
// Known forks, execs and ends, exact counts; every number also on a second cgroup that must have nothing.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "bpf/modules/process/process.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("ProcessTest.*", Trait::Preemption);

constexpr uint8_t kAll = PROCESS_FLAG_FORKS | PROCESS_FLAG_EXECS | PROCESS_FLAG_EXITS | PROCESS_FLAG_LIFETIME;

// In the children of a test; the parent sees the exit code.
void must(bool condition, int code) {
  if (!condition) _exit(code);
}

class ProcessTest : public KernelTest {
 protected:
  EngineOptions options() const override {
    EngineOptions options;
    for (const ModuleEntry& entry : modules()) {
      if (entry.module->info().name != "process") options.disabled_modules.emplace(entry.module->info().name);
    }
    return options;
  }

  int64_t forks(const Cgroup& box) { return total(box, "sonde.process.forks"); }
  int64_t execs(const Cgroup& box) { return total(box, "sonde.process.execs"); }
  int64_t exits(const Cgroup& box, const std::string& how) { return total(box, "sonde.process.exits", {how}); }
  int64_t killed(const Cgroup& box, const std::string& signal) {
    return total(box, "sonde.process.exits", {"signal", signal});
  }
  Totals::Histogram lifetimes(const Cgroup& box) { return histogram(box, "sonde.process.lifetime.duration"); }
};

pid_t start(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  must(child > 0, 90);
  return child;
}

void reap(pid_t child) { must(waitpid(child, nullptr, 0) == child, 91); }

void die_of(int signal) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  ::signal(signal, SIG_DFL);
  kill(getpid(), signal);
  pause();
}

void exec_true() {
  execl("/bin/true", "true", nullptr);
  _exit(92);
}

// 20 forks: 8 end with 0 (of these 3 after an exec), 5 with a status, 7 by signals. The process itself ends too.
void known_family() {
  for (int i = 0; i < 5; ++i) reap(start([] {}));
  for (int i = 0; i < 3; ++i) reap(start(exec_true));
  for (int i = 0; i < 5; ++i) reap(start([i] { _exit(i + 1); }));
  for (int i = 0; i < 4; ++i) reap(start([] { die_of(SIGKILL); }));
  for (int i = 0; i < 2; ++i) reap(start([] { die_of(SIGTERM); }));
  reap(start([] { die_of(SIGRTMIN + 2); }));
}

TEST_F(ProcessTest, AFamilyIsCountedByWhatItDidAndAnotherOneNowhere) {
  for (const Cleanup cleanup : {Cleanup::Keep, Cleanup::Clear}) {
    cleanup_ = cleanup;
    const std::string tag = cleanup == Cleanup::Keep ? "keep" : "clear";
    Cgroup& box = cgroup("box-" + tag);
    Cgroup& other = cgroup("other-" + tag);
    select(box, {{"process", kAll}});
    select(other, {});
    for (int round = 1; round <= 2; ++round) {
      box.run(known_family);
      other.run(known_family);
      collect();
      EXPECT_EQ(forks(box), 20 * round);
      EXPECT_EQ(execs(box), 3 * round);
      EXPECT_EQ(exits(box, "success"), 9 * round);
      EXPECT_EQ(exits(box, "error"), 5 * round);
      EXPECT_EQ(killed(box, "SIGKILL"), 4 * round);
      EXPECT_EQ(killed(box, "SIGTERM"), 2 * round);
      EXPECT_EQ(killed(box, "SIGRTMIN+2"), 1 * round);
      EXPECT_EQ(lifetimes(box).count, 21U * static_cast<uint64_t>(round));
      EXPECT_EQ(everything(other), 0U);
      EXPECT_EQ(losses("process"), 0U);
    }
  }
}

TEST_F(ProcessTest, WhatIsNotAskedIsNotCounted) {
  Cgroup& box = cgroup("forks-only");
  select(box, {{"process", PROCESS_FLAG_FORKS}});
  box.run(known_family);
  collect();
  EXPECT_EQ(forks(box), 20);
  EXPECT_EQ(everything(box), 20U);
}

void* sleep_for_ever(void*) {
  for (;;) pause();
}

void* nothing(void*) { return nullptr; }

// Threads of one process begin and end by the hundred; the process ends once, with three still asleep.
void many_threads() {
  pthread_t thread;
  for (int i = 0; i < 100; ++i) {
    must(pthread_create(&thread, nullptr, nothing, nullptr) == 0, 93);
    must(pthread_join(thread, nullptr) == 0, 94);
  }
  for (int i = 0; i < 3; ++i) must(pthread_create(&thread, nullptr, sleep_for_ever, nullptr) == 0, 93);
  exit(0);
}

TEST_F(ProcessTest, ThreadsAreNotProcesses) {
  Cgroup& box = cgroup("threads");
  select(box, {{"process", kAll}});
  box.run(many_threads);
  collect();
  EXPECT_EQ(forks(box), 0);
  EXPECT_EQ(exits(box, "success"), 1);
  EXPECT_EQ(lifetimes(box).count, 1U);
  EXPECT_EQ(everything(box), 2U);
}

void* end_process_with_3(void*) {
  usleep(20'000);
  _exit(3);
}

// The leader leaves first, with a status of its own that nobody will be told.
void leader_goes_first() {
  pthread_t thread;
  must(pthread_create(&thread, nullptr, end_process_with_3, nullptr) == 0, 93);
  syscall(SYS_exit, 0);
}

TEST_F(ProcessTest, TheLastThreadEndsTheProcess) {
  Cgroup& box = cgroup("leader");
  select(box, {{"process", kAll}});
  const pid_t child = box.start(leader_goes_first);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << status;
  collect();
  EXPECT_EQ(exits(box, "error"), 1);
  EXPECT_EQ(everything(box), 2U) << "one exit, one lifetime";
}

void* exit_thread_at_gate(void* gate) {
  while (!__atomic_load_n(static_cast<int*>(gate), __ATOMIC_ACQUIRE)) sched_yield();
  syscall(SYS_exit, 0);
  return nullptr;
}

// All threads leave on their own at the same moment: each may see that no other is left.
void race_to_the_end() {
  static int gate = 0;
  pthread_t thread;
  for (int i = 0; i < 7; ++i) must(pthread_create(&thread, nullptr, exit_thread_at_gate, &gate) == 0, 93);
  usleep(1000);
  __atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
  syscall(SYS_exit, 0);
}

TEST_F(ProcessTest, ThreadsThatEndTogetherEndOneProcess) {
  Cgroup& box = cgroup("race");
  select(box, {{"process", kAll}});
  constexpr int kRounds = 300;
  box.run([] {
    for (int i = 0; i < kRounds; ++i) reap(start(race_to_the_end));
  });
  collect();
  EXPECT_EQ(forks(box), kRounds);
  EXPECT_EQ(exits(box, "success"), kRounds + 1);
  EXPECT_EQ(lifetimes(box).count, kRounds + 1U);
}

void* exec_from_thread(void*) {
  exec_true();
  return nullptr;
}

// A thread that is not the leader becomes the new program: the old leader ends, the process goes on.
void exec_in_a_thread() {
  pthread_t thread;
  must(pthread_create(&thread, nullptr, exec_from_thread, nullptr) == 0, 93);
  pause();
}

TEST_F(ProcessTest, AnExecByAThreadEndsNoProcess) {
  Cgroup& box = cgroup("exec");
  select(box, {{"process", kAll}});
  const pid_t child = box.start(exec_in_a_thread);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  collect();
  EXPECT_EQ(execs(box), 1);
  EXPECT_EQ(exits(box, "success"), 1);
  EXPECT_EQ(lifetimes(box).count, 1U);
}

TEST_F(ProcessTest, AFailedExecIsNone) {
  Cgroup& box = cgroup("enoent");
  select(box, {{"process", kAll}});
  box.run([] { must(execl("/nonexistent/program", "x", nullptr) < 0, 95); });
  collect();
  EXPECT_EQ(execs(box), 0);
  EXPECT_EQ(exits(box, "success"), 1);
}

// The culprit forks; its children end in the other cgroup, to which they were moved, reaped by whoever.
TEST_F(ProcessTest, ForksAreTheParentsAndEndsTheChilds) {
  Cgroup& parent = cgroup("parent");
  Cgroup& home = cgroup("home");
  select(parent, {{"process", kAll}});
  select(home, {{"process", kAll}});
  const std::string procs = home.directory() + "/cgroup.procs";
  parent.run([&procs] {
    for (int i = 0; i < 6; ++i) {
      reap(start([&procs] {
        FILE* file = fopen(procs.c_str(), "w");
        must(file && fputs("0", file) >= 0 && fclose(file) == 0, 96);
        die_of(SIGUSR1);
      }));
    }
  });
  collect();
  EXPECT_EQ(forks(parent), 6);
  EXPECT_EQ(exits(parent, "success"), 1);
  EXPECT_EQ(killed(parent, "SIGUSR1"), 0);
  EXPECT_EQ(lifetimes(parent).count, 1U);
  EXPECT_EQ(forks(home), 0);
  EXPECT_EQ(killed(home, "SIGUSR1"), 6);
  EXPECT_EQ(lifetimes(home).count, 6U);
}

TEST_F(ProcessTest, AnOrphanCountsWhereItLived) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Cgroup& box = cgroup("orphans");
  select(box, {{"process", kAll}});
  box.run([] {
    for (int i = 0; i < 10; ++i) start([] { usleep(1000); });
  });
  for (int i = 0; i < 10; ++i) EXPECT_GT(waitpid(-1, nullptr, 0), 0);  // they are ours now, and we are elsewhere
  EXPECT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
  collect();
  EXPECT_EQ(forks(box), 10);
  EXPECT_EQ(exits(box, "success"), 11);
}

TEST_F(ProcessTest, ALifetimeGoesFromTheForkToTheEnd) {
  Cgroup& box = cgroup("lifetime");
  select(box, {{"process", PROCESS_FLAG_LIFETIME}});
  timespec begin{}, end{};
  clock_gettime(CLOCK_BOOTTIME, &begin);
  const pid_t child = box.start([] { usleep(100'000); });
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  clock_gettime(CLOCK_BOOTTIME, &end);
  collect();
  const auto lived = lifetimes(box);
  ASSERT_EQ(lived.count, 1U);
  EXPECT_GE(lived.sum, 100'000'000U);
  EXPECT_LE(lived.sum,
            static_cast<uint64_t>((end.tv_sec - begin.tv_sec) * 1'000'000'000L + end.tv_nsec - begin.tv_nsec));
}

// Every process has a slot of its own, and its parent's forks stay the parent's.
TEST_F(ProcessTest, ProcessesWithSlotsOfTheirOwnCountThere) {
  Cgroup& box = cgroup("each");
  const uint32_t container = select(box, {{"process", kAll}}, 1, true);
  box.run([] {
    for (int i = 0; i < 5; ++i) reap(start([] { _exit(7); }));
  });
  collect();
  int64_t forked = 0, failed = 0, processes = 0;
  for (const auto& [slot, values] : totals_.values) {
    const auto find = [&values](const char* name) { return values.contains(name) ? values.at(name) : 0; };
    EXPECT_TRUE(slot != container || (find("sonde.process.forks") == 0 && find("sonde.process.exits|error") == 0));
    forked += find("sonde.process.forks");
    failed += find("sonde.process.exits|error");
    processes += find("sonde.process.exits|error") == 1;
  }
  EXPECT_EQ(forked, 5);
  EXPECT_EQ(failed, 5);
  EXPECT_EQ(processes, 5);
}

// A frame of its own: the compiler does not know that nothing changes in it between the two returns of vfork().
[[gnu::noinline]] void one_short_child() {
  const pid_t child = vfork();
  if (child == 0) _exit(0);
  must(child > 0 && waitpid(child, nullptr, 0) == child, 97);
}

TEST_F(ProcessTest, AHundredThousandForksLeakNothing) {
  Cgroup& box = cgroup("many");
  select(box, {{"process", kAll}});
  const auto count = static_cast<int64_t>(scaled(std::getenv("SONDE_TEST_VM") ? 2'000 : 100'000));
  const auto slots = engine().slots_used();
  std::vector<MapReport> before = engine().map_stats();
  box.run([count] {
    for (int64_t i = 0; i < count; ++i) one_short_child();
  });
  collect();
  EXPECT_EQ(forks(box), count);
  EXPECT_EQ(exits(box, "success"), count + 1);
  EXPECT_EQ(lifetimes(box).count, static_cast<uint64_t>(count) + 1);
  EXPECT_EQ(losses("process"), 0U);
  EXPECT_EQ(engine().slots_used(), slots);
  const std::vector<MapReport> after = engine().map_stats();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (after[i].map == "sonde_free_rows") continue;                  // what that histogram came out of
    const uint64_t own = after[i].map == "sonde_histograms" ? 1 : 0;  // that of lifetimes, however many processes
    EXPECT_GE(after[i].entries, before[i].entries) << after[i].map;
    EXPECT_LE(after[i].entries, before[i].entries + own) << after[i].map;
  }
}

}  // namespace
}  // namespace sonde::test
