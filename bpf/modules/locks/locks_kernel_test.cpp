// SPDX-License-Identifier: Apache-2.0
// Waits of known number and least length: futexes that time out, mutexes that two threads take in opposite order, and a
// mutex of the kernel that can be held for as long as one likes: that of a terminal's readers.
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <pty.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "bpf/modules/locks/locks.h"
#include "sonde/histogram.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/pod.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("LocksTest.*", Trait::Preemption);

constexpr int kWaits = 200;
constexpr uint64_t kMillisecond = 1'000'000;

void wait_for_futex(int times, long milliseconds) {
  static uint32_t word = 0;
  for (int i = 0; i < times; ++i) {
    const timespec timeout{0, milliseconds * 1'000'000};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &timeout, nullptr, 0);
  }
}

// Two threads, two mutexes. In opposite order they wait for each other until one gives up.
void lock_both(bool opposite) {
  static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
  std::atomic<int> ready{0};
  const auto take = [&](pthread_mutex_t* one, pthread_mutex_t* two) {
    pthread_mutex_lock(one);
    ready++;
    while (opposite && ready < 2) sched_yield();
    timespec until{};
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2;
    if (pthread_mutex_timedlock(two, &until) == 0) pthread_mutex_unlock(two);
    usleep(20'000);
    pthread_mutex_unlock(one);
  };
  std::thread other([&] { opposite ? take(&second, &first) : take(&first, &second); });
  take(&first, &second);
  other.join();
}

class LocksTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("locks"); }
  // Waits of this kind that took at least so long.
  uint64_t long_waits(const Cgroup& box, const std::string& kind, uint64_t ns,
                      const std::string& metric = "sonde.lock.wait.duration") {
    uint64_t n = 0;
    for (const auto& [bucket, count] : histogram(box, metric, {kind}).buckets) {
      if (bucket >= static_cast<int>(sonde_hist_index(ns))) n += count;
    }
    return n;
  }
};

TEST_F(LocksTest, EachFutexWaitIsOneAndTakesItsTime) {
  auto& box = cgroup("asked");
  auto& other = cgroup("other");
  HeldProcess process(box, {[] { wait_for_futex(kWaits, 2); }});
  HeldProcess elsewhere(other, {[] { wait_for_futex(kWaits, 2); }});
  select(box, {{"locks", LOCKS_FUTEXES}});
  select(other, {{"locks", 0}});
  process.step(0);
  elsewhere.step(0);
  collect();
  const auto waits = histogram(box, "sonde.lock.wait.duration", {"futex"});
  const uint64_t lost = losses("locks");
  EXPECT_EQ(waits.count + lost, static_cast<uint64_t>(kWaits));
  EXPECT_GE(waits.sum, (kWaits - lost) * 2 * kMillisecond);
  EXPECT_LT(lost, kWaits / 10U);
  EXPECT_EQ(everything(other), 0U);
}

TEST_F(LocksTest, SleepingElsewhereIsNoFutexWait) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        for (int i = 0; i < 50; ++i) usleep(1000);
                      }});
  select(box, {{"locks", LOCKS_FUTEXES}});
  process.step(0);
  collect();
  EXPECT_EQ(histogram(box, "sonde.lock.wait.duration", {"futex"}).count, 0U);
}

TEST_F(LocksTest, MutexesTakenInOppositeOrderAreAnInversionAndInTheSameOrderNone) {
  auto& crossed = cgroup("crossed");
  auto& ordered = cgroup("ordered");
  HeldProcess one(crossed, {[] { lock_both(true); }});
  HeldProcess two(ordered, {[] { lock_both(false); }});
  select(crossed, {{"locks", LOCKS_FUTEXES | LOCKS_INVERSIONS}});
  select(ordered, {{"locks", LOCKS_FUTEXES | LOCKS_INVERSIONS}});
  one.step(0);
  two.step(0);
  collect();
  EXPECT_EQ(total(crossed, "sonde.lock.inversions", {"futex"}), 1);
  EXPECT_EQ(total(ordered, "sonde.lock.inversions", {"futex"}), 0);
  EXPECT_GE(histogram(crossed, "sonde.lock.wait.duration", {"futex"}).count, 2U);
}

// The reader of a terminal that waits for a line holds a mutex, for which the next reader waits.
TEST_F(LocksTest, AMutexOfTheKernelIsWaitedForAsLongAsSomebodyElseHoldsIt) {
  if (!engine().features().has_tracepoint("contention_begin")) GTEST_SKIP() << "this kernel does not tell";
  auto& holder = cgroup("holder");
  auto& waiter = cgroup("waiter");
  int master = -1, slave = -1;
  ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  const auto read_line = [slave] {
    char line[16];
    if (read(slave, line, sizeof(line)) <= 0) _exit(9);
  };
  HeldProcess first(holder, {read_line});
  HeldProcess second(waiter, {read_line});
  select(holder, {{"locks", LOCKS_WAITS | LOCKS_NAMES}});
  select(waiter, {{"locks", LOCKS_WAITS | LOCKS_NAMES | LOCKS_HOLDS}});
  collect();
  first.begin(0);
  usleep(150'000);
  second.begin(0);
  usleep(300'000);
  ASSERT_EQ(write(master, "one\n", 4), 4);  // the first has it, the second gets the mutex
  first.finish();
  usleep(200'000);
  ASSERT_EQ(write(master, "two\n", 4), 4);
  second.finish();
  close(master);
  close(slave);
  collect();
  EXPECT_EQ(long_waits(waiter, "mutex", 100 * kMillisecond), 1U);
  EXPECT_EQ(long_waits(holder, "mutex", 100 * kMillisecond), 0U) << "who holds it does not wait";
  std::string names;
  const auto longest = [&](const Cgroup& box) {
    int64_t most = 0;
    names.clear();
    for (const auto& [name, ns] : totals_.values[slot_of(box)]) {
      if (!name.starts_with("sonde.lock.wait.time|mutex")) continue;
      most = std::max(most, ns);
      names += name + " ";
    }
    return most;
  };
  EXPECT_LT(longest(holder), static_cast<int64_t>(100 * kMillisecond)) << names;
  const int64_t named = longest(waiter);
  EXPECT_GE(named, static_cast<int64_t>(100 * kMillisecond)) << names;
  // Without CAP_SYSLOG, which a pod lacks, the kernel's symbols have no addresses.
  EXPECT_NE(names.find(Pod::wanted() ? "other" : "n_tty_read"), std::string::npos) << names;
  if (engine().features().fentry) {
    EXPECT_EQ(long_waits(waiter, "mutex", 100 * kMillisecond, "sonde.lock.hold.duration"), 1U);
    EXPECT_EQ(histogram(holder, "sonde.lock.hold.duration", {"mutex"}).count, 0U) << "not asked for";
  }
}

TEST_F(LocksTest, ALongWaitForAMutexIsASpanOfWhoWaits) {
  if (!engine().features().has_tracepoint("contention_begin")) GTEST_SKIP() << "this kernel does not tell";
  Spans spans(engine().module_object("locks"));
  auto& holder = cgroup("holder");
  auto& waiter = cgroup("waiter");
  int master = -1, slave = -1;
  ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  const auto read_line = [slave] {
    char line[16];
    if (read(slave, line, sizeof(line)) <= 0) _exit(9);
  };
  HeldProcess first(holder, {read_line});
  HeldProcess second(waiter, {read_line});
  for (const Cgroup* box : {&holder, &waiter}) {
    select(*box, {{"locks", LOCKS_WAITS}});
    spans.ask(slot_of(*box), {{SONDE_SPAN_LOCK_WAIT, 100'000}});
  }
  first.begin(0);
  usleep(150'000);
  second.begin(0);
  usleep(300'000);
  ASSERT_EQ(write(master, "one\n", 4), 4);
  first.finish();
  usleep(200'000);
  ASSERT_EQ(write(master, "two\n", 4), 4);
  second.finish();
  close(master);
  close(slave);
  const auto sent = spans.take();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].operation, static_cast<uint32_t>(SONDE_SPAN_LOCK_WAIT));
  EXPECT_EQ(sent[0].slot, slot_of(waiter));
  EXPECT_EQ(sent[0].detail, static_cast<uint32_t>(LOCKS_MUTEX));
  EXPECT_GE(duration_of(sent[0]), 100 * kMillisecond);
  EXPECT_EQ(sent[0].error, 0);
  EXPECT_STRNE(sent[0].comm, "");
}

}  // namespace
}  // namespace sonde::test
