// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/plan.h"

#include <gtest/gtest.h>

#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

using made_up::kCpu;
using made_up::kDisk;

DecisionPtr decided(const std::vector<Policy>& policies, const Subject& subject = made_up::container()) {
  return std::make_shared<Decision>(resolve(policies, subject, {}, made_up::context()));
}

Policy with_cleanup(std::string name, CleanupStrategy cleanup) {
  Policy policy = made_up::policy(std::move(name));
  policy.cleanup = cleanup;
  return policy;
}

TEST(Plan, OfNothingIsNothing) {
  Plan plan = plan_of({}, made_up::modules());
  EXPECT_EQ(plan.selected, 0u);
  EXPECT_EQ(plan.period_ms, 0u);
  EXPECT_EQ(plan.probes[kDisk].flags, 0);
  Policy exclude = made_up::policy("x");
  exclude.mode = Mode::Exclude;
  std::vector<DecisionPtr> decisions{decided({exclude}), nullptr};
  EXPECT_EQ(plan_of(decisions, made_up::modules()).selected, 0u);
}

TEST(Plan, UnionOfFlagsShortestPeriodStrictestCleanup) {
  Policy a = with_cleanup("a", CleanupStrategy::KeepRecent), b = with_cleanup("b", CleanupStrategy::ClearAfterRead);
  a.preset = Level::Minimal;
  a.period_seconds = 60;
  a.idle_seconds = 30;
  a.granularity = Granularity::Process;
  b.preset = Level::None;
  b.probes.push_back({.name = "disk", .level = Level::Standard});
  b.period_seconds = 10;
  b.idle_seconds = 90;
  std::vector<DecisionPtr> decisions{decided({a}), decided({b})};
  Plan plan = plan_of(decisions, made_up::modules());
  EXPECT_EQ(plan.selected, 2u);
  EXPECT_EQ(plan.period_ms, 10'000u);
  EXPECT_EQ(plan.idle_seconds, 30);
  EXPECT_TRUE(plan.per_process);
  EXPECT_EQ(plan.probes[kDisk].flags, 1 | 2 | 4);
  EXPECT_EQ(plan.probes[kDisk].level, Level::Standard);
  EXPECT_EQ(plan.probes[kDisk].cleanup, CleanupStrategy::ClearAfterRead);
  // Only disk is asked by b, so cpu stays as a wants it.
  EXPECT_EQ(plan.probes[kCpu].cleanup, CleanupStrategy::KeepRecent);
  EXPECT_EQ(plan.overridden,
            std::vector<std::string>{"a: cleanup KeepRecent of disk is overridden by ClearAfterRead, the "
                                     "strictest on this node"});
}

TEST(Plan, ProvisionalFlagsCoverWhoeverMightBeSelected) {
  Policy narrow = made_up::policy("narrow", Level::None);
  narrow.cgroups = {"/db"};
  narrow.probes.push_back({.name = "disk", .level = Level::Standard});
  Policy elsewhere = made_up::policy("elsewhere");
  elsewhere.node_selector = LabelSelector{{{"disk", "ssd"}}, {}};
  Policy exclude = made_up::policy("exclude");
  exclude.mode = Mode::Exclude;
  exclude.cgroups = {"/noise"};
  Policy past = made_up::policy("past");
  past.active_for_seconds = 1;
  std::vector<Policy> policies{narrow, elsewhere, exclude, past};
  EXPECT_EQ(provisional_flags(policies, made_up::context()), (std::vector<uint8_t>{1 | 2 | 4, 0}));
}

TEST(PolicyStatus, SaysWhoMatchesWhatAndWhoLost) {
  Policy cluster = made_up::policy("a"), tenant = made_up::policy("b"), past = made_up::policy("past");
  cluster.period_seconds = 10;
  tenant.namespace_name = "shop";
  tenant.period_seconds = 20;
  past.active_for_seconds = 1;
  Policy exclude = made_up::policy("quiet");
  exclude.mode = Mode::Exclude;
  exclude.cgroups = {"/noise"};
  std::vector<Policy> policies{tenant, exclude, past, cluster};
  Subject sandbox = made_up::container("shop");
  sandbox.type = ContainerType::Sandbox;
  Decided all;
  for (const Subject& subject :
       {made_up::container(), made_up::container("bank"), made_up::cgroup("/noise"), sandbox}) {
    if (auto* list = all.list_of(subject)) list->push_back(decided(policies, subject));
  }
  auto status = policy_status(policies, all, made_up::context());
  ASSERT_EQ(status.size(), 4u);
  EXPECT_EQ(status[0].name, "a");
  EXPECT_EQ(status[0].matched, 2u);
  EXPECT_EQ(status[0].containers, 2u);
  EXPECT_EQ(status[0].overridden, std::vector<std::string>{"excluded by quiet"});
  EXPECT_EQ(status[1].name, "past");
  EXPECT_TRUE(status[1].expired);
  EXPECT_EQ(status[1].matched, 0u);
  EXPECT_EQ(status[2].name, "quiet");
  EXPECT_EQ(status[2].matched, 1u);
  EXPECT_EQ(status[2].containers, 0u) << "a cgroup is no container";
  EXPECT_EQ(status[3].name, "shop/b");
  EXPECT_EQ(status[3].matched, 1u);
  EXPECT_EQ(status[3].overridden, std::vector<std::string>{"periodSeconds 20 is overridden by 10 of a"});
}

}  // namespace
}  // namespace sonde
