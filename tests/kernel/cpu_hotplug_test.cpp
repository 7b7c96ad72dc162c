// SPDX-License-Identifier: Apache-2.0
// A CPU that goes offline and comes back: what is counted of it goes on, or its loss is. In virtual machines: on another machine
// somebody may need that CPU.
#include <algorithm>
#include <fstream>

#include "bpf/modules/cpu_pmu/cpu_pmu.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/pod.h"

namespace sonde::test {
namespace {

constexpr int kCpu = 1;

bool set_online(bool online) {
  std::ofstream file("/sys/devices/system/cpu/cpu" + std::to_string(kCpu) + "/online");
  file << online << std::flush;
  return file.good();
}

class CpuHotplugTest : public MemoryTest {
 protected:
  void SetUp() override {
    if (!std::getenv("SONDE_TEST_VM")) GTEST_SKIP() << "takes a CPU offline: in virtual machines only";
    MemoryTest::SetUp();
  }
  bool closed_to_the_pod(const std::string& module) {
    if (!Pod::has_no_perf_events()) return false;
    const ModuleReport report = engine().modules()[module_id(module)];
    EXPECT_NE(report.health, ModuleHealth::Ok);
    EXPECT_TRUE(std::ranges::any_of(report.reasons, [](const std::string& reason) {
      return reason.find("kernel.perf_event_paranoid") != std::string::npos;
    }));
    return true;
  }
  static void take_away_and_bring_back() {
    ASSERT_TRUE(set_online(false)) << "this CPU cannot be taken offline";
    ASSERT_TRUE(set_online(true));
  }
};

TEST_F(CpuHotplugTest, FaultsAreCountedThereAsBefore) {
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  select(box, {{"memory", MEMORY_FLAG_MINOR | MEMORY_FLAG_FAULT_TIME}});
  select(other, {});
  constexpr int64_t kPages = 2000;
  const auto work = [] {
    pin_to(kCpu);
    char* memory = anonymous(kPages * kPage);
    touch(memory, kPages * kPage);
    munmap(memory, kPages * kPage);
  };
  const auto timed = [&] { return histogram(box, "sonde.memory.fault.duration", {"minor"}).count; };
  box.run(work);
  collect();
  EXPECT_GE(faults(box, "minor"), kPages);
  const bool closed = closed_to_the_pod("memory");  // then the kernel's own counters are left
  EXPECT_GE(timed(), closed ? 0 : kPages);
  EXPECT_EQ(losses("memory"), 0U);

  take_away_and_bring_back();
  usleep(50'000);  // so much may pass before it is noticed at once, and not one collection later
  int64_t counted = faults(box, "minor");
  box.run(work);  // before anybody has looked
  collect();
  EXPECT_GE(faults(box, "minor") - counted, kPages);
  const uint64_t anew = closed ? 0 : 3;
  EXPECT_EQ(losses("memory", SONDE_LOSS_UNMEASURED), anew) << "three events of one CPU had to be opened anew";

  counted = faults(box, "minor");
  const uint64_t before = timed();
  box.run(work);
  collect();
  EXPECT_GE(faults(box, "minor") - counted, kPages);
  EXPECT_GE(timed() - before, closed ? 0 : kPages) << "they have durations again";
  EXPECT_EQ(losses("memory", SONDE_LOSS_UNMEASURED), anew);
  EXPECT_EQ(everything(other), 0U);
}

class PmuHotplugTest : public CpuHotplugTest {
 protected:
  void SetUp() override {
    setenv("SONDE_PMU_EVENTS", "software", 1);
    CpuHotplugTest::SetUp();
  }
  void TearDown() override {
    CpuHotplugTest::TearDown();
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
