// SPDX-License-Identifier: Apache-2.0
// A container that is started again has another cgroup at the same path. What the kernel totals per cgroup begins at 0 with
// each, so every life counts what its own files say, whatever the life before had and whichever slot it had.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"

namespace sonde::test {
namespace {

class LivesTest : public MemoryTest {
 protected:
  // As few slots as make the second life take the slot of the first.
  EngineOptions options() const override {
    EngineOptions few = MemoryTest::options();
    few.slots = SONDE_FIRST_FREE_SLOT + 1;
    return few;
  }
};

TEST_F(LivesTest, PressureIsCountedFromZeroInEachLife) {
  const std::string path = "/sonde-test-" + std::to_string(getpid()) + "-lives";
  const int cpu = usable_cpus().front();
  const auto cpu_some = [](const Cgroup& box) { return pressure_of(box, "cpu")[0]; };
  uint32_t slot = 0;
  int64_t of_all = 0, counted = 0;
  for (const int64_t at_least : {200'000, 20'000, 60'000}) {  // a later life has less than the one before, and more
    auto life = std::make_unique<Cgroup>(path);
    if (cpu_some(*life) < 0) GTEST_SKIP() << "this kernel keeps no pressure figures (psi=1 at boot)";
    const uint32_t now = select(*life, {{"memory", MEMORY_FLAG_OOM}});
    EXPECT_TRUE(slot == 0 || slot == now);
    slot = now;
    std::vector<pid_t> children;
    for (int i = 0; i < 2; ++i) {
      children.push_back(life->start([&] {
        pin_to(cpu);
        burn_ms(60'000);
      }));
    }
    EXPECT_TRUE(eventually([&] { return cpu_some(*life) >= at_least; }));
    for (const pid_t each : children) {
      kill(each, SIGKILL);
      EXPECT_EQ(waitpid(each, nullptr, 0), each);
    }
    int64_t before = -1;
    EXPECT_TRUE(eventually([&] {  // the kernel adds up every two seconds
      before = cpu_some(*life);
      usleep(2'200'000);
      return cpu_some(*life) == before;
    }));
    collect();
    of_all += before;
    const int64_t total_now = total(*life, "sonde.pressure.stall.time", {"cpu", "some"});
    EXPECT_EQ(total_now - counted, before);
    counted = total_now;
    select(*life, {});
    life.reset();
    engine().release(slot);
    EXPECT_TRUE(eventually([&] {
      collect();
      return !engine().take_freed_slots().empty();
    }));
    engine().give_back(slot);
  }
  EXPECT_EQ(counted, of_all);
}

}  // namespace
}  // namespace sonde::test
