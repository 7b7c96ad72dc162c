// SPDX-License-Identifier: Apache-2.0
// A cgroup with processes of its own and a subject below it: whose are the figures that only the cgroups' files tell? Pressure
// is of all below a directory, the quota's figures are of the directory that has it. docs/ops/metrics.md says so.
#include <sys/wait.h>

#include <fstream>
#include <string>

#include "bpf/modules/sched/sched.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"

namespace sonde::test {
namespace {

class NestedSubjectsTest : public MemoryTest {
 protected:
  EngineOptions options() const override {
    EngineOptions options;
    for (const ModuleEntry& entry : modules()) {
      const auto name = entry.module->info().name;
      if (name != "memory" && name != "sched") options.disabled_modules.emplace(name);
    }
    return options;
  }
};

TEST_F(NestedSubjectsTest, PressureOfTheOuterIncludesTheInner) {
  auto& outer = cgroup("outer");
  const Cgroup inner(outer.path() + "/inner");
  if (pressure_of(outer, "cpu")[0] < 0) GTEST_SKIP() << "this kernel keeps no pressure figures (psi=1 at boot)";
  HeldProcess own(outer, {[] {}});
  select(outer, {{"memory", MEMORY_FLAG_OOM}});
  select(inner, {{"memory", MEMORY_FLAG_OOM}});
  const auto before = pressure_of(outer, "cpu");
  const int cpu = usable_cpus().front();
  const auto work = [&] {
    pin_to(cpu);
    burn_ms(60'000);
  };
  const pid_t one = inner.start(work);
  const pid_t two = inner.start(work);
  EXPECT_TRUE(eventually([&] { return pressure_of(inner, "cpu")[0] >= 20'000; }));
  for (const pid_t each : {one, two}) {
    kill(each, SIGKILL);
    EXPECT_EQ(waitpid(each, nullptr, 0), each);
  }
  collect();
  const int64_t of_inner = total(inner, "sonde.pressure.stall.time", {"cpu", "some"});
  const int64_t of_outer = total(outer, "sonde.pressure.stall.time", {"cpu", "some"});
  EXPECT_EQ(of_inner, pressure_of(inner, "cpu")[0]) << "born with the subject";
  EXPECT_EQ(of_outer, pressure_of(outer, "cpu")[0] - before[0]);
  EXPECT_GE(of_outer, of_inner * 9 / 10) << "the kernel adds up by two clocks";
}

TEST_F(NestedSubjectsTest, AQuotaIsOfTheDirectoryThatHasIt) {
  auto& outer = cgroup("outer");
  const auto limit = [&] { return write_to(outer.directory() + "/cpu.max", "20000 100000"); };
  if (!limit()) GTEST_SKIP() << "no cpu controller in the v2 tree";
  const Cgroup inner(outer.path() + "/inner");
  select(outer, {{"sched", SCHED_FLAG_THREAD}});
  select(inner, {{"sched", SCHED_FLAG_THREAD}});
  HeldProcess process(inner, {[] { burn_ms(200); }});
  collect();
  process.step(0);
  collect();
  EXPECT_EQ(total(outer, "sonde.cpu.throttled.time"), number_in(outer.directory() + "/cpu.stat", "throttled_usec"));
  EXPECT_GT(total(outer, "sonde.cpu.throttled.time"), 300'000);
  EXPECT_EQ(total(inner, "sonde.cpu.throttled.time"), 0);
  // Its threads' time is the inner one's.
  EXPECT_GT(total(inner, "sonde.thread.time", {"stopped"}), 200'000'000);
  EXPECT_EQ(total(outer, "sonde.thread.time", {"stopped"}), 0);
}

}  // namespace
}  // namespace sonde::test
