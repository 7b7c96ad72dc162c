// SPDX-License-Identifier: Apache-2.0
// A CPU that goes offline and comes back: its faults are counted again afterwards, and what was missed is a loss.
#include "tests/kernel/support/hotplug_test.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("CpuHotplugTest.*", Trait::PodView, Trait::PodEachKernel, Trait::Equipment);

class CpuHotplugTest : public HotplugTest<MemoryTest> {};

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

}  // namespace
}  // namespace sonde::test
