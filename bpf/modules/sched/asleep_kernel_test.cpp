// SPDX-License-Identifier: Apache-2.0
// Threads that sleep since before the agent, by each way to see them (agent/module/threads.h). As the chart's pod the last way
// sees nobody: status says so, and they are charged when they wake up.
#include <fstream>
#include <set>
#include <string>

#include "agent/module/threads.h"
#include "tests/kernel/support/pod.h"
#include "tests/kernel/support/thread_time_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("AsleepTest.*", Trait::PodView, Trait::PodEachKernel);

struct Way {
  const char* name;
  std::set<std::string, std::less<>> without;
};
std::ostream& operator<<(std::ostream& out, const Way& way) { return out << way.name; }

constexpr int64_t kUnsure = 20 * kMillisecond;

class AsleepTest : public ThreadTimeTest, public ::testing::WithParamInterface<Way> {
 protected:
  EngineOptions options() const override {
    EngineOptions options = ThreadTimeTest::options();
    options.without_functions = GetParam().without;
    return options;
  }
  bool blind() {
    const auto& features = engine().features();
    return Pod::wanted() && !walks_by_kernel(features) && !walks_by_list(features);
  }
  ModuleReport report() { return engine().modules()[module_id("sched")]; }
};

TEST_P(AsleepTest, AThreadThatSleepsSinceBeforeTheAgentHasThreadTime) {
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  HeldProcess process(box, {[] {}});
  HeldProcess unselected(other, {[] {}});
  select(other, {});
  EXPECT_TRUE(report().reasons.empty()) << "nobody asks yet";
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  auto before = thread_time(box);
  sleep_ms(300);
  auto time = thread_time(box) - before;
  if (blind()) {
    EXPECT_EQ(time.sum(), 0) << time;
    const auto reasons = report().reasons;
    ASSERT_EQ(reasons.size(), 1U);
    EXPECT_NE(reasons[0].find("PID namespace"), std::string::npos) << reasons[0];
    EXPECT_NE(reasons[0].find("when they wake up"), std::string::npos) << reasons[0];
    EXPECT_EQ(report().health, ModuleHealth::Degraded);
    before.at -= before.blur;
  } else {
    expect_sum(time, 1);
    EXPECT_EQ(time.state[SCHED_THREAD_SLEEP], time.sum()) << time;
    EXPECT_TRUE(report().reasons.empty()) << report().reasons[0];
  }
  process.step(0);
  unselected.step(0);
  time = thread_time(box) - before;
  if (blind()) {
    // It has slept since it was selected, which is known to 17 ms, and is back in its sleep, in which nobody sees it.
    EXPECT_LE(time.sum(), time.at + 2 * before.blur + time.blur + kUnsure) << time;
  } else {
    expect_sum(time, 1);
  }
  EXPECT_GE(time.state[SCHED_THREAD_SLEEP], 300 * kMillisecond - (blind() ? kUnsure : 0)) << time;
  EXPECT_EQ(everything(other), 0U);
}

// Its time before it became the subject's is not the subject's.
TEST_P(AsleepTest, AThreadThatIsMovedAsleepBeginsThen) {
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  HeldProcess process(other, {[] {}});
  select(box, {{"sched", SCHED_FLAG_THREAD}});
  select(other, {});
  sleep_ms(300);
  const auto before = thread_time(box);
  std::ofstream(box.directory() + "/cgroup.procs") << process.pid() << std::flush;
  sleep_ms(100);
  process.step(0);
  const auto time = thread_time(box) - before;
  EXPECT_GE(time.sum(), 99 * kMillisecond) << time;
  EXPECT_LE(time.sum(), time.at + time.blur) << time;
  EXPECT_EQ(everything(other), 0U);
}

INSTANTIATE_TEST_SUITE_P(Ways, AsleepTest,
                         ::testing::Values(Way{"kernel", {}}, Way{"list", {"bpf_iter_task_new"}},
                                           Way{"iterator", {"bpf_iter_task_new", "bpf_task_from_pid"}}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace sonde::test
