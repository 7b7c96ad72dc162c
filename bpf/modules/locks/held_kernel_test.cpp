// SPDX-License-Identifier: Apache-2.0
// Waits for each kind of lock that sleeps, one at a time: a module of our own (tests/vm/held_locks) holds the lock until it is
// told to give it back. So there is one wait, and how long it is at least and at most is known; how many waits there are in
// all, the kernel counts (lock:contention_begin).
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "bpf/modules/locks/locks.h"
#include "sonde/histogram.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/thread_time_test.h"
#include "tests/kernel/support/tracepoint_count.h"

namespace sonde::test {
namespace {

constexpr const char* kHeld = "/proc/sonde-held";
// Of the tasks that are measured, and of no others: the kernel counts for the whole machine.
std::string name() { return "waits-" + std::to_string(getpid()); }
TracepointCount contention(const std::string& flags) {
  return {"lock:contention_begin", "(" + flags + ") && COMM == \"" + name() + "\""};
}
constexpr std::array<const char*, LOCKS_KINDS> kKinds = {"mutex",   "spinlock",     "rwlock",    "rwsem",
                                                         "rtmutex", "percpu_rwsem", "semaphore", "futex"};

// How one waits for what another holds, in the module's words, and how the kernel announces it (include/trace/events/lock.h).
struct Pair {
  const char* holder;
  const char* waiter;
  const char* kind;
  const char* flags;
};

void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.waiter << " behind " << pair.holder; }

void tell(const char* word) {
  const int file = open(kHeld, O_WRONLY);
  MUST(file >= 0 && write(file, word, strlen(word)) == static_cast<ssize_t>(strlen(word)));
  close(file);
}

int held() {
  int n = -1;
  std::ifstream(kHeld) >> n;
  return n;
}

// Its main thread sleeps where no signal wakes it.
bool waits(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  return line.find(") D ") != std::string::npos;
}

class HeldLocksTest : public KernelTest, public ::testing::WithParamInterface<Pair> {
 protected:
  EngineOptions options() const override { return only("locks"); }
  void SetUp() override {
    if (access(kHeld, W_OK) != 0) GTEST_SKIP() << "no module that holds locks: only in a virtual machine";
    KernelTest::SetUp();
  }
  uint64_t long_ones(const Cgroup& box, const std::string& metric, const std::string& kind, int64_t ns) {
    uint64_t n = 0;
    for (const auto& [bucket, count] : histogram(box, metric, {kind}).buckets) {
      if (bucket > static_cast<int>(sonde_hist_index(static_cast<uint64_t>(ns)))) n += count;
    }
    return n;
  }
};

TEST_P(HeldLocksTest, OneWaitOfKnownLengthIsOneOfItsKind) {
  const Pair pair = GetParam();
  auto& holder_box = cgroup("holder");
  auto& waiter_box = cgroup("waiter");
  const std::string own = name();
  HeldProcess holder(holder_box, {[&] { tell(pair.holder); }});
  HeldProcess waiter(waiter_box, {[&] { prctl(PR_SET_NAME, own.c_str()); }, [&] { tell(pair.waiter); }});
  waiter.step(0);
  const TracepointCount begins = contention(pair.flags);
  ASSERT_TRUE(begins) << "perf does not count lock:contention_begin here";
  select(holder_box, {{"locks", LOCKS_WAITS}});
  select(waiter_box, {{"locks", LOCKS_WAITS | LOCKS_HOLDS}});
  collect();
  holder.begin(0);
  ASSERT_TRUE(eventually([] { return held() == 1; }));
  const int64_t begin = now_ns();
  waiter.begin(1);
  ASSERT_TRUE(eventually([&] { return waits(waiter.pid()); }));
  const int64_t asleep = now_ns();
  sleep_ms(200);
  const int64_t released = now_ns();
  tell("release");
  holder.finish();
  ASSERT_TRUE(eventually([] { return held() == 1; }));  // the waiter has it
  const int64_t end = now_ns();
  sleep_ms(200);
  const int64_t told = now_ns();
  tell("release");
  waiter.finish();
  const int64_t done = now_ns();
  collect();
  const auto counted = histogram(waiter_box, "sonde.lock.wait.duration", {pair.kind});
  std::cout << pair.kind << ": " << counted.count << " waits of " << counted.sum / 1000 << " us, the longest of "
            << (released - asleep) / 1000 << " to " << (end - begin) / 1000 << " us\n";
  EXPECT_EQ(counted.count, begins.count());
  EXPECT_GE(counted.sum, static_cast<uint64_t>(released - asleep));
  EXPECT_LE(counted.sum, static_cast<uint64_t>(done - begin));
  for (const char* kind : kKinds) {
    EXPECT_EQ(long_ones(waiter_box, "sonde.lock.wait.duration", kind, 100 * kMillisecond),
              pair.kind == std::string(kind) ? 1U : 0U)
        << kind;
    EXPECT_EQ(long_ones(holder_box, "sonde.lock.wait.duration", kind, 100 * kMillisecond), 0U) << kind;
  }
  EXPECT_EQ(losses("locks"), 0U);
  if (!engine().features().fentry) return;
  // Holds of mutexes and rwsems that had been waited for.
  const bool followed = pair.kind == std::string("mutex") || pair.kind == std::string("rwsem");
  const std::string hold = "sonde.lock.hold.duration";
  EXPECT_EQ(long_ones(waiter_box, hold, "mutex", 100 * kMillisecond), followed && pair.kind == std::string("mutex"));
  EXPECT_EQ(long_ones(waiter_box, hold, "rwsem", 100 * kMillisecond), followed && pair.kind == std::string("rwsem"));
  if (followed) {
    EXPECT_GE(histogram(waiter_box, hold, {pair.kind}).sum, static_cast<uint64_t>(told - end));
    EXPECT_LE(histogram(waiter_box, hold, {pair.kind}).sum, static_cast<uint64_t>(done - released));
  }
  EXPECT_EQ(histogram(holder_box, hold, {pair.kind}).count, 0U) << "not asked for";
}

INSTANTIATE_TEST_SUITE_P(EachKind, HeldLocksTest,
                         ::testing::Values(Pair{"mutex", "mutex", "mutex", "flags == 33"},
                                           Pair{"rwsem-write", "rwsem-read", "rwsem", "flags == 2"},
                                           Pair{"rwsem-read", "rwsem-write", "rwsem", "flags == 4"},
                                           Pair{"rwsem-write", "rwsem-write", "rwsem", "flags == 4"},
                                           Pair{"rtmutex", "rtmutex", "rtmutex", "flags == 8"},
                                           Pair{"percpu-write", "percpu-read", "percpu_rwsem", "flags == 18"},
                                           Pair{"semaphore", "semaphore", "semaphore", "flags == 0"}));

// Threads of one process that change their address space at once. How often they have to wait nobody can choose.
void contend_for_addresses() {
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([] {
      for (int n = 0; n < 4'000; ++n) {
        void* memory =
            mmap(nullptr, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        MUST(memory != MAP_FAILED && munmap(memory, 1 << 16) == 0);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
}

class SleepingLocksTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("locks"); }
};

TEST_F(SleepingLocksTest, WaitsForAnAddressSpaceAreThoseThatTheKernelCounts) {
  if (!engine().features().has_tracepoint("contention_begin")) GTEST_SKIP() << "this kernel does not tell";
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  const std::string own = name();
  HeldProcess process(box, {[&] { prctl(PR_SET_NAME, own.c_str()); }, contend_for_addresses});
  HeldProcess rival(other, {contend_for_addresses});
  process.step(0);
  const TracepointCount begins = contention("flags == 2 || flags == 4");
  if (!begins) GTEST_SKIP() << "perf does not count lock:contention_begin here";
  select(box, {{"locks", LOCKS_WAITS}});
  select(other, {{"locks", 0}});
  for (int i = 0; i < 20 && begins.count() < 20; ++i) {
    rival.begin(0);
    process.step(1);
    rival.finish();
  }
  const uint64_t truth = begins.count();
  collect();
  const auto counted = histogram(box, "sonde.lock.wait.duration", {"rwsem"});
  std::cout << truth << " waits, of " << counted.sum / 1000 << " us\n";
  EXPECT_GT(truth, 0U);
  EXPECT_EQ(counted.count, truth);
  EXPECT_GT(counted.sum, 0U);
  EXPECT_EQ(losses("locks"), 0U);
  EXPECT_EQ(everything(other), 0U);
}

// Whoever moves a process to a cgroup is the writer of a percpu_rwsem of which all that fork are readers.
TEST_F(SleepingLocksTest, WaitsForWhoMovesProcessesAreThoseThatTheKernelCounts) {
  if (!engine().features().has_tracepoint("contention_begin")) GTEST_SKIP() << "this kernel does not tell";
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  const std::string own = name();
  SharedNumber end;
  HeldProcess process(box, {[&] { prctl(PR_SET_NAME, own.c_str()); },
                            [] {
                              for (int i = 0; i < 100; ++i) {
                                const pid_t child = fork();
                                if (child == 0) _exit(0);
                                MUST(child > 0 && waitpid(child, nullptr, 0) == child);
                              }
                            }});
  HeldProcess rival(other, {[&] {
                      while (!end.get()) MUST(write_to(other.directory() + "/cgroup.procs", "0"));
                    }});
  process.step(0);
  const TracepointCount begins = contention("flags == 18 || flags == 20");
  if (!begins) GTEST_SKIP() << "perf does not count lock:contention_begin here";
  select(box, {{"locks", LOCKS_WAITS}});
  select(other, {{"locks", 0}});
  rival.begin(0);
  for (int i = 0; i < 20 && begins.count() < 3; ++i) process.step(1);
  end.set(1);
  rival.finish();
  const uint64_t truth = begins.count();
  collect();
  const auto waits = histogram(box, "sonde.lock.wait.duration", {"percpu_rwsem"});
  std::cout << truth << " waits, of " << waits.sum / 1000 << " us\n";
  EXPECT_LE(waits.count, truth);
  EXPECT_GE(waits.count + losses("locks"), truth);
  EXPECT_EQ(everything(other), 0U);
  if (truth == 0) GTEST_SKIP() << "nobody had to wait";
}

}  // namespace
}  // namespace sonde::test
