// SPDX-License-Identifier: Apache-2.0
// A container that has used up its CPU quota does not wait for a CPU. Needs the v2 cpu controller (the virtual machines).
#include <fstream>
#include <string>

#include "tests/kernel/support/thread_time_test.h"

namespace sonde::test {
namespace {

class SchedThrottledTest : public ThreadTimeTest {
 protected:
  struct Quota {
    int64_t periods = 0;
    int64_t throttled_periods = 0;
    int64_t throttled_ns = 0;
  };
  static Quota quota(const Cgroup& box) {
    Quota quota;
    std::ifstream file(box.directory() + "/cpu.stat");
    int64_t value = 0;
    for (std::string key; file >> key >> value;) {
      if (key == "nr_periods") quota.periods = value;
      if (key == "nr_throttled") quota.throttled_periods = value;
      if (key == "throttled_usec") quota.throttled_ns = value * 1000;
    }
    return quota;
  }
  static bool limit(const Cgroup& box, const std::string& text) {
    std::ofstream file(box.directory() + "/cpu.max");
    file << text << std::flush;
    return file.good();
  }
};

TEST_F(SchedThrottledTest, TimeHeldUpByTheQuotaIsNotRunQueueTime) {
  auto& box = cgroup("limited");
  auto& free = cgroup("free");
  if (!limit(box, "20000 100000")) GTEST_SKIP() << "no cpu controller in the v2 tree";
  select(box, {{"sched", SCHED_FLAG_THREAD | SCHED_FLAG_WAIT}});
  select(free, {{"sched", SCHED_FLAG_THREAD | SCHED_FLAG_WAIT}});
  const int cpu = usable_cpus().back();
  const std::vector<std::function<void()>> work = {[&] { pin_to(cpu); }, [] { burn_ms(200); }};
  HeldProcess process(box, work);
  HeldProcess other(free, work);
  process.step(0);
  other.step(0);
  auto before = thread_time(box);
  const auto waits_before = histogram(box, "sonde.sched.run_queue.duration");
  const auto figures = process.figures();
  const Quota quota_before = quota(box);
  process.step(1);
  auto time = thread_time(box) - before;
  const int64_t truth = quota(box).throttled_ns - quota_before.throttled_ns;
  const auto delay = static_cast<int64_t>((process.figures() - figures).wait_ns);
  const auto waited = static_cast<int64_t>(histogram(box, "sonde.sched.run_queue.duration").sum - waits_before.sum);
  EXPECT_GT(truth, 300 * kMillisecond) << "it was held up";
  EXPECT_GE(delay, truth * 9 / 10) << "the kernel takes it for waiting";
  expect_sum(time, 1);
  EXPECT_NEAR(static_cast<double>(time.state[SCHED_THREAD_STOPPED]), static_cast<double>(truth),
              static_cast<double>(truth) * 0.1 + 1e7)
      << time;
  EXPECT_LE(waited, delay - truth * 9 / 10) << time;
  EXPECT_LE(time.state[SCHED_THREAD_RUNNABLE], delay - truth * 9 / 10) << time;
  // What is read of cpu.stat begins with the first collection after selection; the group stands still by now.
  EXPECT_EQ(total(box, "sonde.cpu.throttled.time") * 1000, quota(box).throttled_ns);
  EXPECT_EQ(total(box, "sonde.cpu.throttled.periods"), quota(box).throttled_periods);
  // The last period may end only now: what is read lies between two looks.
  const int64_t least = quota(box).periods;
  collect();
  EXPECT_GE(total(box, "sonde.cpu.periods"), least);
  EXPECT_LE(total(box, "sonde.cpu.periods"), quota(box).periods);
  EXPECT_GE(least, quota(box).throttled_periods);

  before = thread_time(free);
  other.step(1);
  time = thread_time(free) - before;
  EXPECT_EQ(time.state[SCHED_THREAD_STOPPED], 0) << time;
  EXPECT_EQ(total(free, "sonde.cpu.throttled.time") + total(free, "sonde.cpu.throttled.periods"), 0);
  EXPECT_EQ(total(free, "sonde.cpu.periods"), 0) << "it has no quota";
}

TEST_F(SchedThrottledTest, WithoutAQuotaNothingIsThrottled) {
  auto& box = cgroup("box");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  box.run([] { burn_ms(20); });
  collect();
  EXPECT_EQ(total(box, "sonde.cpu.throttled.time"), 0);
  EXPECT_EQ(total(box, "sonde.cpu.throttled.periods"), 0);
}

}  // namespace
}  // namespace sonde::test
