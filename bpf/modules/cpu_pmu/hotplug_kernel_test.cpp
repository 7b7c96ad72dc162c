// SPDX-License-Identifier: Apache-2.0
// A CPU that goes offline and comes back: its counters go on from the next collection, and what was missed is a loss.
#include <cstdlib>

#include "bpf/modules/cpu_pmu/cpu_pmu.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/hotplug_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("PmuHotplugTest.*", Trait::PodView, Trait::PodEachKernel, Trait::Equipment);

class PmuHotplugTest : public HotplugTest<KernelTest> {
 protected:
  void SetUp() override {
    setenv("SONDE_PMU_EVENTS", "software", 1);
    HotplugTest::SetUp();
  }
  void TearDown() override {
    HotplugTest::TearDown();
    unsetenv("SONDE_PMU_EVENTS");
  }
  EngineOptions options() const override { return only("cpu_pmu"); }
};

TEST_F(PmuHotplugTest, CountersGoOnFromTheNextCollection) {
  auto& box = cgroup("box");
  select(box, {{"cpu_pmu", CPU_PMU_FLAG(CPU_PMU_CYCLES)}});  // cpu-clock, ns
  HeldProcess process(box, {[] {
                        pin_to(kCpu);
                        burn_ms(50);
                      }});
  const auto cycles = [&] {
    collect();
    return total(box, "sonde.cpu.cycles");
  };
  process.step(0);
  const int64_t first = cycles();
  if (closed_to_the_pod("cpu_pmu")) return;
  EXPECT_GE(first, 40'000'000);
  take_away_and_bring_back();
  const uint64_t lost = losses("cpu_pmu");
  process.step(0);
  cycles();
  EXPECT_GT(losses("cpu_pmu"), lost) << "what its events missed is counted";
  const int64_t before = cycles();
  process.step(0);
  EXPECT_GE(cycles() - before, 40'000'000);
}

}  // namespace
}  // namespace sonde::test
