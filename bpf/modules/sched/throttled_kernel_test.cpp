// SPDX-License-Identifier: Apache-2.0
// A container that has used up its CPU quota does not wait for a CPU. With the v2 cpu controller (the virtual machines), or with
// v1's beside the v2 tree: then there is no cpu.stat to read, and the thread's time is the same.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/kernel/support/thread_time_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("SchedThrottledTest.*", Trait::PodView, Trait::Preemption);

class SchedThrottledTest : public ThreadTimeTest {
 protected:
  struct Quota {
    int64_t periods = 0;
    int64_t throttled_periods = 0;
    int64_t throttled_ns = 0;
  };
  static Quota quota(const Cgroup& box) {
    Quota quota;
    std::ifstream file((v2(box) ? box.directory() : v1(box)) + "/cpu.stat");
    int64_t value = 0;
    for (std::string key; file >> key >> value;) {
      if (key == "nr_periods") quota.periods = value;
      if (key == "nr_throttled") quota.throttled_periods = value;
      if (key == "throttled_usec") quota.throttled_ns = value * 1000;
      if (key == "throttled_time") quota.throttled_ns = value;  // v1
    }
    return quota;
  }
  static bool v2(const Cgroup& box) { return access((box.directory() + "/cpu.max").c_str(), F_OK) == 0; }
  static std::string v1(const Cgroup& box) { return "/sys/fs/cgroup/cpu" + box.path(); }
  static bool write_to(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
  }
  // 20 ms of each 100. With v1 whoever enters the box has to enter that, too.
  bool limit(const Cgroup& box) {
    if (v2(box)) return write_to(box.directory() + "/cpu.max", "20000 100000");
    std::error_code error;
    if (!std::filesystem::create_directory(v1(box), error)) return false;
    made_.push_back(v1(box));
    write_to(v1(box) + "/cpu.shares", "262144");  // on a busy machine it would not use its quota up
    return write_to(v1(box) + "/cpu.cfs_quota_us", "20000");
  }
  static void enter(const Cgroup& box) {
    if (v2(box)) return;
    EXPECT_TRUE(write_to(v1(box) + "/cgroup.procs", "0"));
  }
  void TearDown() override {
    ThreadTimeTest::TearDown();
    for (const std::string& directory : made_) rmdir(directory.c_str());
  }
  std::vector<std::string> made_;
};

TEST_F(SchedThrottledTest, TimeHeldUpByTheQuotaIsNotRunQueueTime) {
  auto& box = cgroup("limited");
  auto& free = cgroup("free");
  if (!limit(box)) GTEST_SKIP() << "no cpu controller";
  select(box, {{"sched", SCHED_FLAG_THREAD | SCHED_FLAG_WAIT}});
  select(free, {{"sched", SCHED_FLAG_THREAD | SCHED_FLAG_WAIT}});
  const int cpu = usable_cpus().back();
  HeldProcess process(box, {[&] {
                              pin_to(cpu);
                              enter(box);
                            },
                            [] { burn_ms(200); }});
  HeldProcess other(free, {[&] { pin_to(cpu); }, [] { burn_ms(200); }});
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

  before = thread_time(free);
  other.step(1);
  time = thread_time(free) - before;
  EXPECT_EQ(time.state[SCHED_THREAD_STOPPED], 0) << time;
}

// However often somebody looks while it is held up.
TEST_F(SchedThrottledTest, WhoIsHeldUpWhileOthersLookIsStopped) {
  auto& box = cgroup("limited");
  if (!limit(box)) GTEST_SKIP() << "no cpu controller";
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  HeldProcess process(box, {[&] { enter(box); }, [] { burn_ms(200); }});  // on whichever CPU
  process.step(0);
  const auto before = thread_time(box);
  const Quota quota_before = quota(box);
  const auto figures = process.figures();
  process.begin(1);
  for (int i = 0; i < 40; ++i) {
    sleep_ms(10);
    collect();
  }
  process.finish();
  const auto time = thread_time(box) - before;
  const int64_t truth = quota(box).throttled_ns - quota_before.throttled_ns;
  const auto delay = static_cast<int64_t>((process.figures() - figures).wait_ns);
  EXPECT_GT(truth, 300 * kMillisecond) << "it was held up";
  expect_sum(time, 1);
  EXPECT_GE(time.state[SCHED_THREAD_STOPPED], truth * 8 / 10) << time;
  EXPECT_LE(time.state[SCHED_THREAD_RUNNABLE], std::max<int64_t>(delay - truth * 8 / 10, 20 * kMillisecond)) << time;
}

// For the kernel's figures it waits for a CPU: docs/ops/metrics.md says so.
TEST_F(SchedThrottledTest, ADeadlineThreadThatHasUsedUpItsRuntimeIsRunnable) {
  auto& box = cgroup("deadline");
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  struct {                           // struct sched_attr, include/uapi/linux/sched/types.h: glibc has none
    uint32_t size = 48, policy = 6;  // SCHED_DEADLINE
    uint64_t flags = 0;
    int32_t nice = 0;
    uint32_t priority = 0;
    uint64_t runtime = 2'000'000, deadline = 20'000'000, period = 20'000'000;
  } attributes;
  SharedNumber refused;
  HeldProcess process(
      box, {[&] { refused.set(syscall(SYS_sched_setattr, 0, &attributes, 0) ? errno : 0); }, [] { burn_ms(20); }});
  process.step(0);
  if (refused.get()) GTEST_SKIP() << "no SCHED_DEADLINE here: " << strerror(refused.get());
  const auto before = thread_time(box);
  process.step(1);
  const auto time = thread_time(box) - before;
  expect_sum(time, 1);
  EXPECT_GE(time.state[SCHED_THREAD_RUNNABLE], 100 * kMillisecond) << time;
  EXPECT_EQ(time.state[SCHED_THREAD_STOPPED], 0) << time;
}

}  // namespace
}  // namespace sonde::test
