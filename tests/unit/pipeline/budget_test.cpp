// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/budget.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

constexpr uint64_t kTick = 5'000'000'000;

// Modules whose cost follows the step they are in, as in the kernel.
struct Machine {
  explicit Machine(std::vector<double> milli, BudgetOptions options = {.milli_cpu = 50})
      : full(std::move(milli)), wanted(full.size(), true), controller(full.size(), options) {}

  double cost(std::size_t i) const {
    static constexpr double kPart[] = {1.0, 0.6, 0.4, 0.0};
    return wanted[i] ? full[i] * kPart[static_cast<int>(controller.steps()[i])] : 0;
  }
  bool tick() {
    std::vector<ModuleCost> modules;
    for (std::size_t i = 0; i < full.size(); ++i) {
      modules.push_back({static_cast<uint64_t>(cost(i) * 1e-3 * kTick), wanted[i], true});
    }
    return controller.tick(modules, static_cast<uint64_t>(agent * 1e-3 * kTick), kTick);
  }
  int ticks(int n) {
    int changes = 0;
    while (n-- > 0) changes += tick();
    return changes;
  }

  std::vector<double> full;
  std::vector<bool> wanted;
  double agent = 5;
  BudgetController controller;
};

TEST(Budget, LeavesAloneWhatFits) {
  Machine machine({20, 20});
  EXPECT_EQ(machine.ticks(1000), 0);
  EXPECT_FALSE(machine.controller.over_budget());
  EXPECT_NEAR(machine.controller.used_milli_cpu(), 45, 0.01);
}

TEST(Budget, NoBudgetIsNoLimit) {
  Machine machine({1000}, {.milli_cpu = 0});
  EXPECT_EQ(machine.ticks(100), 0);
}

TEST(Budget, OneBusyTickIsForgiven) {
  Machine machine({20, 20});
  for (int i = 0; i < 20; ++i) {
    machine.full[0] = 200;
    EXPECT_FALSE(machine.tick());
    EXPECT_FALSE(machine.tick());
    machine.full[0] = 20;
    EXPECT_FALSE(machine.tick());
  }
}

TEST(Budget, TakesFromTheCostliestFirstStepByStep) {
  Machine machine({10, 60});
  EXPECT_EQ(machine.ticks(3), 1);
  EXPECT_EQ(machine.controller.steps()[1], OverheadStep::Sampled);  // 5 + 10 + 36: still too much
  EXPECT_FALSE(machine.tick()) << "the step must have had its effect";
  EXPECT_EQ(machine.ticks(2), 1);
  EXPECT_EQ(machine.controller.steps()[1], OverheadStep::Lowered);  // 5 + 10 + 24
  EXPECT_EQ(machine.controller.steps()[0], OverheadStep::Full);
  EXPECT_NE(machine.controller.reason(1).find("50 milli-CPU"), std::string::npos);
  EXPECT_TRUE(machine.controller.reason(0).empty());
  machine.full[1] = 300;
  machine.ticks(3);
  EXPECT_EQ(machine.controller.steps()[1], OverheadStep::Off);
  EXPECT_EQ(machine.controller.steps()[0], OverheadStep::Full);
}

TEST(Budget, ModulesWithoutHistogramsHaveNothingToSample) {
  BudgetController controller(1, {.milli_cpu = 1});
  const ModuleCost module{kTick, true, false};
  for (int i = 0; i < 3; ++i) controller.tick({&module, 1}, 0, kTick);
  EXPECT_EQ(controller.steps()[0], OverheadStep::Lowered);
}

TEST(Budget, ComesBackByItselfWhenTheLoadGoes) {
  Machine machine({10, 60});
  machine.ticks(20);
  EXPECT_TRUE(machine.controller.over_budget());
  machine.full[1] = 5;
  machine.ticks(30);
  EXPECT_FALSE(machine.controller.over_budget());
  EXPECT_EQ(machine.controller.steps()[1], OverheadStep::Full);
}

TEST(Budget, AlsoFromOff) {
  Machine machine({10, 600});
  machine.ticks(20);
  EXPECT_EQ(machine.controller.steps()[1], OverheadStep::Off);
  machine.full[1] = 5;  // nobody can see that while it is off
  machine.ticks(200);
  EXPECT_FALSE(machine.controller.over_budget());
}

TEST(Budget, DoesNotFlapUnderASteadyLoad) {
  Machine machine({10, 60});
  machine.ticks(200);
  const int early = machine.ticks(1000);
  const int late = machine.ticks(1000);
  EXPECT_LE(late, 12) << "trials must become rare";
  EXPECT_LE(late, early);
  int over = 0;
  for (int i = 0; i < 1000; ++i) {
    machine.tick();
    over += machine.controller.used_milli_cpu() > 50;
  }
  EXPECT_LE(over, 30);
}

TEST(Budget, AModuleThatNobodyAsksForBeginsAnew) {
  Machine machine({10, 600});
  machine.ticks(20);
  machine.wanted[1] = false;
  machine.tick();
  EXPECT_EQ(machine.controller.steps()[1], OverheadStep::Full);
  EXPECT_FALSE(machine.controller.over_budget());
}

TEST(Budget, ARaisedBudgetGivesBack) {
  Machine machine({10, 60});
  machine.ticks(20);
  machine.controller.set_budget(500);
  machine.ticks(20);
  EXPECT_FALSE(machine.controller.over_budget());
}

TEST(Backoff, SwitchesOffAfterSomeFailuresAndForLongerEachTime) {
  constexpr uint64_t kSecond = 1'000'000'000;
  FailureBackoff backoff;
  backoff.failed(0, "no");
  backoff.failed(0, "no");
  EXPECT_TRUE(backoff.allowed(0));
  EXPECT_EQ(backoff.reason(0), "collection fails: no");
  backoff.failed(0, "map is gone");
  EXPECT_FALSE(backoff.allowed(30 * kSecond - 1));
  EXPECT_EQ(backoff.reason(0), "switched off for 30 s because its collection keeps failing: map is gone");
  EXPECT_TRUE(backoff.allowed(30 * kSecond));
  backoff.failed(30 * kSecond, "map is gone");
  EXPECT_EQ(backoff.off_until(), 90 * kSecond);
  uint64_t now = 90 * kSecond;
  for (int i = 0; i < 40; ++i) {
    backoff.failed(now, "map is gone");
    EXPECT_LE(backoff.off_until() - now, 3600 * kSecond);
    now = backoff.off_until();
  }
  backoff.succeeded(now);
  EXPECT_TRUE(backoff.reason(now).empty());
  backoff.failed(now, "no");
  EXPECT_TRUE(backoff.allowed(now));
}

}  // namespace
}  // namespace sonde
