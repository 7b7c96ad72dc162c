// SPDX-License-Identifier: Apache-2.0
// A container that is started again has another cgroup at the same path. What the kernel totals per cgroup begins at 0 with
// each, so every life counts what its own files say, whatever the life before had and whichever slot it had.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bpf/modules/throttle/throttle.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("QuotaLivesTest.*", Trait::Equipment);

// As few slots as make the second life take the slot of the first.
template <typename Base>
class Lives : public Base {
 protected:
  EngineOptions options() const override {
    EngineOptions few = Base::options();
    few.slots = SONDE_FIRST_FREE_SLOT + 1;
    return few;
  }
  static std::string path() { return "/sonde-test-" + std::to_string(getpid()) + "-lives"; }
  // Measures the life that begins; all get the same slot.
  void begin(const Cgroup& life, const std::map<std::string, uint8_t>& flags_by_module) {
    const uint32_t now = this->select(life, flags_by_module);
    EXPECT_TRUE(slot_ == 0 || slot_ == now);
    slot_ = now;
  }
  void end(std::unique_ptr<Cgroup> life) {
    this->select(*life, {});
    life.reset();
    this->release(slot_);
    EXPECT_TRUE(eventually([&] {
      this->collect();
      return !this->drained().empty();
    }));
    this->give_back(slot_);
  }

 private:
  uint32_t slot_ = 0;
};

class LivesTest : public Lives<MemoryTest> {};
class ThrottleOnlyTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("throttle"); }
};
class QuotaLivesTest : public Lives<ThrottleOnlyTest> {};

TEST_F(LivesTest, PressureIsCountedFromZeroInEachLife) {
  const int cpu = usable_cpus().front();
  const auto cpu_some = [](const Cgroup& box) { return pressure_of(box, "cpu")[0]; };
  int64_t of_all = 0, counted = 0;
  for (const int64_t at_least : {200'000, 20'000, 60'000}) {  // a later life has less than the one before, and more
    auto life = std::make_unique<Cgroup>(path());
    if (cpu_some(*life) < 0) GTEST_SKIP() << "this kernel keeps no pressure figures (psi=1 at boot)";
    begin(*life, {{"memory", MEMORY_FLAG_OOM}});
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
    end(std::move(life));
  }
  EXPECT_EQ(counted, of_all);
}

TEST_F(QuotaLivesTest, ThrottlingIsCountedFromZeroInEachLife) {
  const auto figure = [](const Cgroup& box, const char* name) -> int64_t {
    std::ifstream file(box.directory() + "/cpu.stat");
    int64_t value = 0;
    for (std::string key; file >> key >> value;) {
      if (key == name) return value;
    }
    return -1;
  };
  int64_t us_of_all = 0, periods_of_all = 0;
  for (const int burnt_ms : {100, 40, 60}) {  // a later life has less than the one before, and more
    auto life = std::make_unique<Cgroup>(path());
    std::ofstream(life->directory() + "/cpu.max") << "10000 100000" << std::flush;
    if (figure(*life, "nr_throttled") < 0) GTEST_SKIP() << "this kernel has no cpu controller in its v2 tree";
    begin(*life, {{"throttle", THROTTLE_FLAG}});
    collect();
    life->run([&] { burn_ms(burnt_ms); });
    collect();
    EXPECT_GT(figure(*life, "nr_throttled"), 0);
    us_of_all += figure(*life, "throttled_usec");
    periods_of_all += figure(*life, "nr_throttled");
    EXPECT_EQ(total(*life, "sonde.cpu.throttled.time"), us_of_all);
    EXPECT_EQ(total(*life, "sonde.cpu.throttled.periods"), periods_of_all);
    end(std::move(life));
  }
}

}  // namespace
}  // namespace sonde::test
