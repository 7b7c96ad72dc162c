// SPDX-License-Identifier: Apache-2.0
// Against the kernel's own figures of the same tasks: equal to the nanosecond and the switch, not nearly so.
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "bpf/modules/sched/sched.h"
#include "tests/kernel/support/held_process.h"

namespace sonde::test {
namespace {

constexpr uint8_t kMinimal = SCHED_FLAG_WAIT;
constexpr uint8_t kDetailed = SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE | SCHED_FLAG_SWITCHES | SCHED_FLAG_ONCPU |
                              SCHED_FLAG_MIGRATIONS | SCHED_FLAG_WAKEUPS;
// How old a running task's own figures may be: a tick, and some for virtual CPUs that stand still.
constexpr int64_t kTickNs = 15'000'000;
constexpr int64_t kMillisecond = 1'000'000;

void sleep_ms(int milliseconds) { usleep(static_cast<useconds_t>(milliseconds) * 1000); }

void move_self_to(const Cgroup& cgroup) { std::ofstream(cgroup.directory() + "/cgroup.procs") << 0 << std::flush; }

class SchedTest : public KernelTest {
 protected:
  struct Counted {
    uint64_t waits = 0;
    uint64_t wait_ns = 0;
    uint64_t wakeup_waits = 0;
    uint64_t preemption_waits = 0;
    int64_t voluntary = 0;
    int64_t involuntary = 0;
    int64_t migrations = 0;
    int64_t wakeups = 0;
    int64_t oncpu_ns = 0;

    Counted operator-(const Counted& before) const {
      return {waits - before.waits,
              wait_ns - before.wait_ns,
              wakeup_waits - before.wakeup_waits,
              preemption_waits - before.preemption_waits,
              voluntary - before.voluntary,
              involuntary - before.involuntary,
              migrations - before.migrations,
              wakeups - before.wakeups,
              oncpu_ns - before.oncpu_ns};
    }
  };

  // All that was counted for the cgroup so far.
  Counted counted(const Cgroup& box) {
    collect();
    const std::string wait = "sonde.sched.run_queue.duration";
    const auto all = histogram(box, wait);
    const auto wakeup = histogram(box, wait, {"wakeup"});
    const auto preemption = histogram(box, wait, {"preemption"});
    return {all.count + wakeup.count + preemption.count,
            all.sum + wakeup.sum + preemption.sum,
            wakeup.count,
            preemption.count,
            total(box, "sonde.sched.context_switches", {"voluntary"}),
            total(box, "sonde.sched.context_switches", {"involuntary"}),
            total(box, "sonde.sched.migrations"),
            total(box, "sonde.sched.wakeups"),
            total(box, "sonde.sched.oncpu.time")};
  }

  void expect_equal(const Counted& counts, const TaskFigures& truth) {
    EXPECT_EQ(counts.oncpu_ns, static_cast<int64_t>(truth.oncpu_ns));
    EXPECT_EQ(counts.wait_ns, truth.wait_ns);
    EXPECT_EQ(counts.waits, truth.arrivals);
    EXPECT_EQ(counts.voluntary, static_cast<int64_t>(truth.voluntary));
    EXPECT_EQ(counts.involuntary, static_cast<int64_t>(truth.involuntary));
    if (has_migration_figures()) {
      EXPECT_EQ(counts.migrations, static_cast<int64_t>(truth.migrations));
    }
  }

  void TearDown() override {
    if (!IsSkipped()) {
      EXPECT_EQ(losses("sched", SONDE_LOSS_TASK_STORAGE), 0U);
      EXPECT_EQ(losses("sched", SONDE_LOSS_MERGED), 0U);
      EXPECT_EQ(losses("sched", SONDE_LOSS_BAD_VALUE), 0U);
    }
    KernelTest::TearDown();
  }
};

TEST_F(SchedTest, TheWaiterIsChargedNotTheOneItWaitsFor) {
  auto& spinning = cgroup("spinner");
  auto& waiting = cgroup("waiter");
  select(spinning, {{"sched", kMinimal}});
  select(waiting, {{"sched", kMinimal}});
  const int cpu = usable_cpus().front();
  HeldProcess spinner(spinning, {[&] {
                        pin_to(cpu);
                        EXPECT_TRUE(be_realtime(10));
                        for (int i = 0; i < 20; ++i) {
                          burn_ms(10);
                          sleep_ms(2);
                        }
                      }});
  HeldProcess waiter(waiting, {[&] {
                       pin_to(cpu);
                       burn_ms(20);
                     }});
  const auto spinner_before = spinner.figures();
  const auto waiter_before = waiter.figures();
  const auto spinner_counted = counted(spinning);
  const auto waiter_counted = counted(waiting);
  spinner.begin(0);
  waiter.begin(0);
  spinner.finish();
  waiter.finish();
  const auto spinner_counts = counted(spinning) - spinner_counted;
  const auto waiter_counts = counted(waiting) - waiter_counted;
  EXPECT_EQ(spinner_counts.wait_ns, (spinner.figures() - spinner_before).wait_ns);
  EXPECT_EQ(spinner_counts.waits, (spinner.figures() - spinner_before).arrivals);
  EXPECT_EQ(waiter_counts.wait_ns, (waiter.figures() - waiter_before).wait_ns);
  EXPECT_EQ(waiter_counts.waits, (waiter.figures() - waiter_before).arrivals);
  EXPECT_GT(waiter_counts.wait_ns, 60U * kMillisecond);
  EXPECT_LT(spinner_counts.wait_ns, waiter_counts.wait_ns / 4);
  EXPECT_EQ(waiter_counts.oncpu_ns + waiter_counts.voluntary + waiter_counts.wakeups, 0) << "not asked for";
}

TEST_F(SchedTest, ASleeperIsWokenAsOftenAsItSleepsAndNeverPreempted) {
  auto& box = cgroup("sleeper");
  select(box, {{"sched", kDetailed}});
  HeldProcess process(box, {[] {
                        EXPECT_TRUE(be_realtime(20));
                        for (int i = 0; i < 50; ++i) sleep_ms(2);
                      }});
  const auto before = process.figures();
  const auto before_counted = counted(box);
  process.step(0);
  const auto counts = counted(box) - before_counted;
  expect_equal(counts, process.figures() - before);
  EXPECT_EQ(counts.wakeups, 51) << "fifty sleeps and the command to begin";
  EXPECT_GE(counts.voluntary, 51);
  EXPECT_EQ(counts.wakeup_waits, counts.waits - counts.preemption_waits);
  EXPECT_GE(counts.wakeup_waits, 51U);
}

TEST_F(SchedTest, WhatAProcessUsesWaitsAndSwitchesEqualsTheKernelsFigures) {
  auto& box = cgroup("pair");
  select(box, {{"sched", kDetailed}});
  const int cpu = usable_cpus().front();
  const std::vector<std::function<void()>> work = {[&] {
    pin_to(cpu);
    for (int i = 0; i < 10; ++i) {
      burn_ms(15);
      sleep_ms(1);
    }
  }};
  HeldProcess one(box, work);
  HeldProcess two(box, work);
  TaskFigures before = one.figures();
  before += two.figures();
  const auto before_counted = counted(box);
  one.begin(0);
  two.begin(0);
  one.finish();
  two.finish();
  TaskFigures truth = one.figures();
  truth += two.figures();
  const auto counts = counted(box) - before_counted;
  expect_equal(counts, truth - before);
  EXPECT_GT(counts.involuntary, 10);
  EXPECT_GT(counts.preemption_waits, 10U);
  EXPECT_LE(counts.preemption_waits, static_cast<uint64_t>(counts.involuntary));
  EXPECT_GT(counts.oncpu_ns, 290 * kMillisecond);
}

TEST_F(SchedTest, EveryMoveToAnotherCpuIsOneMigration) {
  const auto cpus = usable_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  auto& box = cgroup("bouncer");
  select(box, {{"sched", SCHED_FLAG_MIGRATIONS}});
  HeldProcess process(box, {[&] { pin_to(cpus[0]); },
                            [&] {
                              for (int i = 0; i < 40; ++i) pin_to(cpus[static_cast<std::size_t>(i + 1) % 2]);
                            }});
  process.step(0);
  const auto before = counted(box);
  process.step(1);
  EXPECT_EQ((counted(box) - before).migrations, 40);
}

TEST_F(SchedTest, APingPongWakesOncePerTurn) {
  auto& box = cgroup("ping-pong");
  select(box, {{"sched", kDetailed}});
  const int cpu = usable_cpus().front();
  constexpr int kRounds = 500;
  HeldProcess process(
      box, {[] {}, [&] {
              int there[2];
              int back[2];
              char byte = 0;
              EXPECT_EQ(pipe(there) + pipe(back), 0);
              pin_to(cpu);
              EXPECT_TRUE(be_realtime(30));  // of equal priority: the one that wakes the other runs on until it waits
              const pid_t child = fork();
              if (child == 0) {
                for (int i = 0; i < kRounds; ++i) {
                  if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1) _exit(1);
                }
                _exit(0);
              }
              for (int i = 0; i < kRounds; ++i) {
                if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) _exit(1);
              }
              waitpid(child, nullptr, 0);
            }});
  process.step(0);
  const auto before = counted(box);
  process.step(1);
  const auto counts = counted(box) - before;
  // Command; child's birth; one wakeup per turn, except for the child's first if it had not begun to wait; its end.
  EXPECT_GE(counts.wakeups, 2 * kRounds + 1);
  EXPECT_LE(counts.wakeups, 2 * kRounds + 6);
  EXPECT_GE(counts.voluntary, 2 * kRounds - 1);
  EXPECT_EQ(counts.waits, static_cast<uint64_t>(counts.voluntary + counts.involuntary));
}

TEST_F(SchedTest, WhatNobodySelectedIsCountedNowhere) {
  auto& watched = cgroup("watched");
  auto& other = cgroup("other");
  select(watched, {{"sched", kDetailed}});
  select(other, {});
  other.run([] {
    burn_ms(20);
    sleep_ms(5);
  });
  collect();
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(everything(watched), 0U);
}

TEST_F(SchedTest, AProcessMovedWhileItSleepsIsDividedExactly) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  select(first, {{"sched", kDetailed}});
  select(second, {{"sched", kDetailed}});
  HeldProcess process(first, {[] { burn_ms(40); }, [] { burn_ms(20); }});
  const auto start = process.figures();
  const auto before = counted(first);
  process.step(0);
  const auto middle = process.figures();
  std::ofstream(second.directory() + "/cgroup.procs") << process.pid() << std::flush;
  process.step(1);
  expect_equal(counted(first) - before, middle - start);
  expect_equal(counted(second), process.figures() - middle);
}

TEST_F(SchedTest, AProcessThatMovesItselfIsDividedAtTheMove) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  select(first, {{"sched", kDetailed}});
  select(second, {{"sched", kDetailed}});
  HeldProcess process(first, {[&] {
                        burn_ms(60);
                        move_self_to(second);
                        burn_ms(120);
                      }});
  const auto start = process.figures();
  const auto before = counted(first);
  process.step(0);
  const auto left = counted(first) - before;
  const auto right = counted(second);
  const auto truth = process.figures() - start;
  EXPECT_EQ(left.oncpu_ns + right.oncpu_ns, static_cast<int64_t>(truth.oncpu_ns));
  EXPECT_EQ(left.wait_ns + right.wait_ns, truth.wait_ns);
  EXPECT_EQ(left.voluntary + right.voluntary, static_cast<int64_t>(truth.voluntary));
  EXPECT_NEAR(static_cast<double>(left.oncpu_ns), 60e6, static_cast<double>(kTickNs));
}

TEST_F(SchedTest, AProcessThatComesFromOutsideBringsNoPast) {
  auto& outside = cgroup("outside");
  auto& inside = cgroup("inside");
  select(outside, {});
  select(inside, {{"sched", kDetailed}});
  outside.run([&] {
    burn_ms(100);
    move_self_to(inside);
    burn_ms(60);
  });
  const auto counts = counted(inside);
  EXPECT_NEAR(static_cast<double>(counts.oncpu_ns), 60e6, static_cast<double>(kTickNs));
  EXPECT_EQ(everything(outside), 0U);
}

TEST_F(SchedTest, ThreadsOlderThanTheSelectionCountFromThenOn) {
  auto& box = cgroup("old");
  HeldProcess process(box, {[] { burn_ms(60); }, [] { burn_ms(10); }});
  process.step(0);
  select(box, {{"sched", kDetailed}});
  const auto before = process.figures();
  process.step(1);
  expect_equal(counted(box), process.figures() - before);
}

TEST_F(SchedTest, WhatHappensWhileNobodyAsksIsNotMadeUpForLater) {
  auto& box = cgroup("pause");
  select(box, {{"sched", kDetailed}});
  HeldProcess process(box, {[] { burn_ms(10); }, [] { burn_ms(80); }});
  process.step(0);
  const auto first = counted(box);
  select(box, {});
  process.step(1);
  select(box, {{"sched", kDetailed}});
  const auto before = process.figures();
  process.step(0);
  expect_equal(counted(box) - first, process.figures() - before);
}

TEST_F(SchedTest, AThreadThatNeverLeavesItsCpuIsSeenAtACollection) {
  const auto cpus = usable_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  auto& box = cgroup("spinner");
  select(box, {{"sched", kDetailed}});
  HeldProcess process(box, {[] {},
                            [&] {
                              pin_to(cpus[1]);
                              EXPECT_TRUE(be_realtime(10));
                              burn_ms(400);
                            }});
  process.step(0);
  const auto before = counted(box);
  const auto start = process.figures();
  process.begin(1);
  sleep_ms(200);
  const auto meanwhile = counted(box) - before;
  const auto now = process.figures() - start;
  process.finish();
  if (now.involuntary > 5) GTEST_SKIP() << "it was preempted, this shows nothing";
  EXPECT_GT(meanwhile.oncpu_ns, 100 * kMillisecond);
  expect_equal(counted(box) - before, process.figures() - start);
}

TEST_F(SchedTest, ShortLivedProcessesLoseNothing) {
  auto& box = cgroup("forks");
  select(box, {{"sched", kDetailed}});
  const uint64_t forks = scaled(1000);
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  HeldProcess process(box, {[] {}, [&] {
                              for (uint64_t i = 0; i < forks; ++i) {
                                const pid_t child = fork();
                                if (child == 0) {
                                  burn_ms(1);
                                  _exit(0);
                                }
                                waitpid(child, nullptr, 0);
                              }
                              rusage usage{};
                              getrusage(RUSAGE_CHILDREN, &usage);
                              EXPECT_EQ(write(report[1], &usage, sizeof(usage)), static_cast<ssize_t>(sizeof(usage)));
                            }});
  process.step(0);
  const auto before = counted(box);
  const auto start = process.figures();
  process.step(1);
  rusage children{};
  ASSERT_EQ(read(report[0], &children, sizeof(children)), static_cast<ssize_t>(sizeof(children)));
  const auto parent = process.figures() - start;
  const auto counts = counted(box) - before;
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  const double truth = seconds(children.ru_utime) + seconds(children.ru_stime) + static_cast<double>(parent.oncpu_ns) / 1e9;
  EXPECT_NEAR(static_cast<double>(counts.oncpu_ns) / 1e9, truth, truth * 0.01);
  // A child's last switch may come after its parent has been told.
  const auto switches = children.ru_nvcsw + static_cast<int64_t>(parent.voluntary);
  EXPECT_GE(counts.voluntary, switches);
  EXPECT_LE(counts.voluntary, switches + static_cast<int64_t>(forks));
  EXPECT_EQ(counts.involuntary, children.ru_nivcsw + static_cast<int64_t>(parent.involuntary));
  EXPECT_GE(counts.voluntary, static_cast<int64_t>(forks)) << "each ends with one";
  EXPECT_EQ(counts.waits + losses("sched", SONDE_LOSS_UNMEASURED),
            static_cast<uint64_t>(counts.voluntary + counts.involuntary));
}

// Collected all the time while it runs, under both ways of reading.
class SchedCleanupTest : public SchedTest, public ::testing::WithParamInterface<Cleanup> {};

TEST_P(SchedCleanupTest, TheTotalsAreTheSame) {
  cleanup_ = GetParam();
  auto& box = cgroup("box");
  select(box, {{"sched", kDetailed}});
  const int cpu = usable_cpus().front();
  const std::vector<std::function<void()>> work = {[&] {
    pin_to(cpu);
    for (int i = 0; i < 100; ++i) {
      burn_ms(1);
      sleep_ms(1);
    }
  }};
  HeldProcess one(box, work);
  HeldProcess two(box, work);
  TaskFigures before = one.figures();
  before += two.figures();
  const auto before_counted = counted(box);
  one.begin(0);
  two.begin(0);
  for (int i = 0; i < 60; ++i) {
    collect();
    sleep_ms(5);
  }
  one.finish();
  two.finish();
  TaskFigures truth = one.figures();
  truth += two.figures();
  counted(box);  // what a writer had half done comes with the next collection
  expect_equal(counted(box) - before_counted, truth - before);
}

INSTANTIATE_TEST_SUITE_P(Strategies, SchedCleanupTest, ::testing::Values(Cleanup::Keep, Cleanup::Clear),
                         [](const auto& way) { return way.param == Cleanup::Keep ? "Keep" : "Clear"; });

}  // namespace
}  // namespace sonde::test
