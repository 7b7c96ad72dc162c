// SPDX-License-Identifier: Apache-2.0
// What is read of cpu.stat, next to what the test reads itself. What the threads' time makes of a quota: sched's tests.
#include <fstream>
#include <string>

#include "bpf/modules/throttle/throttle.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("ThrottleTest.*", Trait::PodView);

class ThrottleTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("throttle"); }

  static int64_t figure(const Cgroup& box, const std::string& name) {
    std::ifstream file(box.directory() + "/cpu.stat");
    int64_t value = 0;
    for (std::string key; file >> key >> value;) {
      if (key == name) return value;
    }
    return -1;
  }
  // 20 ms of each 100.
  static bool limit(const Cgroup& box) {
    std::ofstream file(box.directory() + "/cpu.max");
    file << "20000 100000" << std::flush;
    return file.good();
  }
};

TEST_F(ThrottleTest, QuotasAreTheFiguresOfCpuStat) {
  auto& box = cgroup("limited");
  auto& free = cgroup("free");
  auto& other = cgroup("other");
  if (!limit(box) || !limit(other)) GTEST_SKIP() << "no cpu controller in the v2 tree";
  select(box, {{"throttle", THROTTLE_FLAG}});
  select(free, {{"throttle", THROTTLE_FLAG}});
  for (const Cgroup* each : {&box, &free, &other}) each->run([] { burn_ms(100); });
  collect();
  EXPECT_GT(figure(box, "throttled_usec"), 100'000);
  EXPECT_EQ(total(box, "sonde.cpu.throttled.time"), figure(box, "throttled_usec"));
  EXPECT_EQ(total(box, "sonde.cpu.throttled.periods"), figure(box, "nr_throttled"));
  // The last period may end only now: what is read lies between two looks.
  const int64_t least = figure(box, "nr_periods");
  collect();
  EXPECT_GE(total(box, "sonde.cpu.periods"), least);
  EXPECT_LE(total(box, "sonde.cpu.periods"), figure(box, "nr_periods"));
  EXPECT_EQ(everything(free), 0U) << "it has no quota";
  EXPECT_EQ(everything(other), 0U) << "not selected";
}

TEST_F(ThrottleTest, WithoutAQuotaNothingIsThrottled) {
  auto& box = cgroup("box");
  select(box, {{"throttle", THROTTLE_FLAG}});
  box.run([] { burn_ms(20); });
  collect();
  EXPECT_EQ(total(box, "sonde.cpu.throttled.time"), 0);
  EXPECT_EQ(total(box, "sonde.cpu.throttled.periods"), 0);
}

}  // namespace
}  // namespace sonde::test
