// SPDX-License-Identifier: Apache-2.0
// What the tests of sched share: what was counted for a cgroup, beside the kernel's own figures.
#pragma once

#include <unistd.h>

#include <string>

#include "bpf/modules/sched/sched.h"
#include "tests/kernel/support/held_process.h"

namespace sonde::test {

inline constexpr uint8_t kMinimal = SCHED_FLAG_WAIT;
inline constexpr uint8_t kDetailed = SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE | SCHED_FLAG_SWITCHES | SCHED_FLAG_ONCPU |
                                     SCHED_FLAG_MIGRATIONS | SCHED_FLAG_WAKEUPS;
// How old a running task's own figures may be: a tick, and some for virtual CPUs that stand still.
inline constexpr int64_t kTickNs = 40'000'000;
inline constexpr int64_t kMillisecond = 1'000'000;

inline void sleep_ms(int milliseconds) { usleep(static_cast<useconds_t>(milliseconds) * 1000); }

class SchedTest : public KernelTest {
 protected:
  // Loading the other modules takes most of a test's time on an emulated machine.
  EngineOptions options() const override {
    EngineOptions options;
    for (const ModuleEntry& entry : modules()) {
      if (entry.module->info().name != "sched") options.disabled_modules.emplace(entry.module->info().name);
    }
    return options;
  }

  struct Counted {
    uint64_t waits = 0;
    uint64_t wait_ns = 0;
    uint64_t wakeup_waits = 0;
    uint64_t preemption_waits = 0;
    int64_t voluntary = 0;
    int64_t involuntary = 0;
    int64_t migrations = 0;
    int64_t wakeups = 0;
    int64_t oncpu_ns = 0;

    Counted operator-(const Counted& before) const {
      return {waits - before.waits,
              wait_ns - before.wait_ns,
              wakeup_waits - before.wakeup_waits,
              preemption_waits - before.preemption_waits,
              voluntary - before.voluntary,
              involuntary - before.involuntary,
              migrations - before.migrations,
              wakeups - before.wakeups,
              oncpu_ns - before.oncpu_ns};
    }
  };

  // All that was counted for the cgroup so far.
  Counted counted(const Cgroup& box) {
    collect();
    const std::string wait = "sonde.sched.run_queue.duration";
    const auto all = histogram(box, wait);
    const auto wakeup = histogram(box, wait, {"wakeup"});
    const auto preemption = histogram(box, wait, {"preemption"});
    return {all.count + wakeup.count + preemption.count,
            all.sum + wakeup.sum + preemption.sum,
            wakeup.count,
            preemption.count,
            total(box, "sonde.sched.context_switches", {"voluntary"}),
            total(box, "sonde.sched.context_switches", {"involuntary"}),
            total(box, "sonde.sched.migrations"),
            total(box, "sonde.sched.wakeups"),
            total(box, "sonde.sched.oncpu.time")};
  }

  // Before Linux 6.2 a wakeup in an interrupt cannot look into task storage if that came into a like access.
  int64_t lost_wakeups() { return static_cast<int64_t>(losses("sched", SONDE_LOSS_TASK_STORAGE)); }

  void expect_equal(const Counted& counts, const TaskFigures& truth) {
    EXPECT_EQ(counts.oncpu_ns, static_cast<int64_t>(truth.oncpu_ns));
    EXPECT_EQ(counts.wait_ns, truth.wait_ns);
    EXPECT_EQ(counts.waits, truth.arrivals);
    EXPECT_EQ(counts.voluntary, static_cast<int64_t>(truth.voluntary));
    EXPECT_EQ(counts.involuntary, static_cast<int64_t>(truth.involuntary));
    if (has_migration_figures()) {
      EXPECT_EQ(counts.migrations, static_cast<int64_t>(truth.migrations));
    }
  }

  void TearDown() override {
    if (!IsSkipped()) {
      EXPECT_EQ(losses("sched", SCHED_LOSS_MERGED), 0U);
      EXPECT_EQ(losses("sched", SONDE_LOSS_BAD_VALUE), 0U);
    }
    KernelTest::TearDown();
  }
};

}  // namespace sonde::test
