// SPDX-License-Identifier: Apache-2.0
// A cgroup with processes of its own and a subject below it: whose are the figures that only the cgroups' files tell? Pressure
// is of all below a directory, the quota's figures are of the directory that has it. docs/ops/metrics.md says so.
#include <sys/wait.h>

#include <fstream>
#include <string>

#include "bpf/modules/sched/sched.h"
#include "bpf/modules/throttle/throttle.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("NestedSubjectsTest.*", Trait::PodView, Trait::PodEachKernel, Trait::Equipment);

class NestedSubjectsTest : public MemoryTest {
 protected:
  EngineOptions options() const override {
    EngineOptions options;
    for (const ModuleEntry& entry : modules()) {
      const auto name = entry.module->info().name;
      if (name != "memory" && name != "sched" && name != "throttle") options.disabled_modules.emplace(name);
    }
    return options;
  }
};

TEST_F(NestedSubjectsTest, PressureOfTheOuterIncludesTheInner) {
  auto& outer = cgroup("outer");
  const Cgroup inner(outer.path() + "/inner");
  if (pressure_of(outer, "cpu")[0] < 0) GTEST_SKIP() << "this kernel keeps no pressure figures (psi=1 at boot)";
  HeldProcess own(outer, {[] {}});
  const auto cpu_some = [](const Cgroup& box) { return pressure_of(box, "cpu")[0]; };
  const int64_t before = cpu_some(outer);
  select(outer, {{"memory", MEMORY_FLAG_OOM}});
  select(inner, {{"memory", MEMORY_FLAG_OOM}});
  const int64_t selected = cpu_some(outer);
  const int cpu = usable_cpus().front();
  const auto work = [&] {
    pin_to(cpu);
    burn_ms(60'000);
  };
  const pid_t one = inner.start(work);
  const pid_t two = inner.start(work);
  EXPECT_TRUE(eventually([&] { return cpu_some(inner) >= 20'000; }));
  for (const pid_t each : {one, two}) {
    kill(each, SIGKILL);
    EXPECT_EQ(waitpid(each, nullptr, 0), each);
  }
  // The kernel adds up every two seconds (PSI_FREQ), for each group at its own time.
  EXPECT_TRUE(eventually([&] {
    const int64_t inner_now = cpu_some(inner), outer_now = cpu_some(outer);
    usleep(2'200'000);
    return cpu_some(inner) == inner_now && cpu_some(outer) == outer_now;
  }));
  collect();
  const int64_t of_inner = total(inner, "sonde.pressure.stall.time", {"cpu", "some"});
  const int64_t of_outer = total(outer, "sonde.pressure.stall.time", {"cpu", "some"});
  EXPECT_EQ(of_inner, cpu_some(inner)) << "born with the subject";
  EXPECT_LE(of_outer, cpu_some(outer) - before);
  EXPECT_GE(of_outer, cpu_some(outer) - selected);
  EXPECT_GE(of_outer, of_inner * 9 / 10) << "the kernel adds up by two clocks";
}

TEST_F(NestedSubjectsTest, AQuotaIsOfTheDirectoryThatHasIt) {
  auto& outer = cgroup("outer");
  const auto limit = [&] { return write_to(outer.directory() + "/cpu.max", "20000 100000"); };
  if (!limit()) GTEST_SKIP() << "no cpu controller in the v2 tree";
  const Cgroup inner(outer.path() + "/inner");
  select(outer, {{"sched", SCHED_FLAG_THREAD}, {"throttle", THROTTLE_FLAG}});
  select(inner, {{"sched", SCHED_FLAG_THREAD}, {"throttle", THROTTLE_FLAG}});
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
