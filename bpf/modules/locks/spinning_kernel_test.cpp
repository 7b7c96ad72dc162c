// SPDX-License-Identifier: Apache-2.0
// Waits for spinning locks. How many there are nobody can choose: truth is the kernel's own count of lock:contention_begin
// while a task of that name runs, with the kind as a filter.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "bpf/modules/locks/locks.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/tracepoint_count.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Only CAP_SYSLOG shows the kernel's symbols, which tell locks apart.
SONDE_TRAITS("SpinningTest.*", Trait::HostOnly);

// Of the tasks that are measured and no others, also where these tests run twice at once: the kernel counts for the whole
// machine.
std::string spinner_name() { return "spins-" + std::to_string(getpid()); }

// Waits of the tasks of that name whose flags are these (include/trace/events/lock.h).
TracepointCount spins(const std::string& flags) {
  return {"lock:contention_begin", "(" + flags + ") && COMM == \"" + spinner_name() + "\""};
}

constexpr const char* kSpinlock = "flags == 1";
constexpr const char* kRwlock = "flags == 3 || flags == 5";  // for reading, for writing

constexpr uint8_t kAsked = LOCKS_WAITS | LOCKS_NAMES;
constexpr int kWorkers = 8;

// Processes that ask for the list of all tasks, for reading and for writing, all at once.
void contend_for_tasks() {
  std::vector<pid_t> workers;
  for (int i = 0; i < kWorkers; ++i) {
    const pid_t pid = fork();
    if (pid) {
      workers.push_back(pid);
      continue;
    }
    for (int n = 0; n < 20'000; ++n) {
      setpgid(0, 0);
      waitpid(-1, nullptr, WNOHANG);
      kill(0, 0);
    }
    _exit(0);
  }
  for (const pid_t pid : workers) EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
}

// Threads that open and close files of one table.
void contend_for_files() {
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([] {
      for (int n = 0; n < 20'000; ++n) close(dup(2));
    });
  }
  for (std::thread& worker : workers) worker.join();
}

class SpinningTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("locks"); }
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped() && !engine().features().has_tracepoint("contention_begin"))
      GTEST_SKIP() << "this kernel does not tell";
  }
  uint64_t waits(const Cgroup& box, const std::string& kind) {
    return histogram(box, "sonde.lock.wait.duration", {kind}).count;
  }
  // Runs of the two programs that the kernel left out, because they came into one that was running.
  uint64_t missed() {
    uint64_t sum = 0;
    for (const ProgramRuns& program : engine().program_stats()) {
      if (program.program.starts_with("locks_contention_")) sum += program.missed;
    }
    return sum;
  }
  // Runs `work` in two groups at once, of whom one is measured, until there was something to count. No collection comes
  // before: what it waits for at once counts too.
  void expect_truth(Cgroup& box, const std::function<void()>& work) {
    Cgroup& other = cgroup("other");
    const std::string own = spinner_name();
    HeldProcess process(other,
                        {[&] { prctl(PR_SET_NAME, own.c_str()); }, work});  // it comes into the box under its name
    HeldProcess rival(other, {[] {}, work});
    process.step(0);
    rival.step(0);
    const TracepointCount spinlocks = spins(kSpinlock), rwlocks = spins(kRwlock);
    if (!spinlocks || !rwlocks) GTEST_SKIP() << "perf does not count lock:contention_begin here";
    if (!slot_of(box)) select(box, {{"locks", kAsked}});
    select(other, {{"locks", 0}});
    std::ofstream(box.directory() + "/cgroup.procs") << process.pid() << std::flush;
    const uint64_t missed_before = missed();
    for (int i = 0; i < 20 && spinlocks.count() + rwlocks.count() < 20; ++i) {
      rival.begin(1);
      process.step(1);
      rival.finish();
    }
    const uint64_t spins = spinlocks.count(), rw = rwlocks.count();
    const uint64_t lost = losses("locks") + missed() - missed_before;
    collect();
    std::cout << "spinlock " << spins << ", rwlock " << rw << ", lost or missed " << lost << "\n";
    EXPECT_LE(waits(box, "rwlock"), rw);
    EXPECT_GE(waits(box, "rwlock") + lost, rw);
    EXPECT_LE(waits(box, "spinlock"), spins);
    EXPECT_GE(waits(box, "spinlock") + lost, spins);
    EXPECT_EQ(losses("locks", SONDE_LOSS_NO_ROW), 0U);
    EXPECT_EQ(everything(other), 0U);
    if (spins + rw == 0) GTEST_SKIP() << "nobody had to wait: on so few CPUs this kernel's locks do not queue";
  }
};

TEST_F(SpinningTest, WaitsForTheListOfTasksAreThoseThatTheKernelCounts) {
  Cgroup& box = cgroup("box");
  expect_truth(box, contend_for_tasks);
  if (IsSkipped()) return;
  std::string names;
  for (const auto& [name, ns] : totals_.values[slot_of(box)]) {
    if (name.starts_with("sonde.lock.wait.time|rwlock")) names += name + " ";
  }
  std::ifstream symbols("/proc/kallsyms");
  bool known = false;
  for (std::string line; std::getline(symbols, line) && !known;) known = line.ends_with(" tasklist_lock");
  if (known) {
    EXPECT_NE(names.find("|tasklist_lock "), std::string::npos) << names;
  }
}

TEST_F(SpinningTest, WaitsForATableOfFilesAreThoseThatTheKernelCounts) {
  expect_truth(cgroup("box"), contend_for_files);
}

// It has its slot from the kernel side, and no collection comes before its first wait.
TEST_F(SpinningTest, ADirectoryMadeUnderWatchLosesNone) {
  Cgroup& parent = cgroup("parent");
  ASSERT_TRUE(engine().slots().enter(parent.id(), 0, parent.path(), SONDE_KIND_TREE));
  ModuleFlags flags{};
  flags[module_id("locks")] = kAsked;
  engine().set_provisional(flags);
  sync_programs();
  Cgroup& child = cgroup("parent/child");
  expect_truth(child, contend_for_tasks);
  child.remove();  // before its parent
}

}  // namespace
}  // namespace sonde::test
