// SPDX-License-Identifier: Apache-2.0
// What keeps many nodes and tenants safe: Excludes of everything or of a probe, ceilings of policies of a namespace.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/policy/plan.h"
#include "agent/policy/resolve.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

using made_up::kCpu;
using made_up::kDisk;

Decision decide(const std::vector<Policy>& policies) {
  return resolve(policies, made_up::container(), {}, made_up::context());
}

ProbeRequest probe(std::string name) {
  ProbeRequest request;
  request.name = std::move(name);
  return request;
}

TEST(Fleet, ExcludeOfSomeProbesTakesAwayThese) {
  using namespace made_up;
  Policy exclude = policy("no-disk");
  exclude.preset.reset();
  exclude.mode = Mode::Exclude;
  exclude.probes = {probe("storage")};  // an alias of disk
  const Decision decision = decide({policy("loud", Level::Detailed), exclude});
  EXPECT_TRUE(decision.selected);
  EXPECT_EQ(decision.probes[kDisk].metrics, 0u);
  EXPECT_EQ(decision.probes[kDisk].flags, 0);
  EXPECT_EQ(decision.probes[kCpu].level, Level::Detailed);
  EXPECT_EQ(decision.winners.at("disk.level"), "no-disk");
  EXPECT_EQ(decision.overridden, std::vector<std::string>{"loud: disk is excluded by no-disk"});
  EXPECT_EQ(decision.policies, (std::vector<std::string>{"loud", "no-disk"}));
  exclude.probes = {probe("all")};
  EXPECT_FALSE(decide({policy("loud"), exclude}).selected);
  exclude.probes = {probe("disk"), probe("cpu")};
  EXPECT_FALSE(decide({policy("loud"), exclude}).selected);
}

TEST(Fleet, WhatExcludesEverythingOnThisNode) {
  using namespace made_up;
  ResolveContext here = context();
  here.node_labels = {{"disk", "ssd"}};
  Policy off = policy("off");
  off.preset.reset();
  off.mode = Mode::Exclude;
  const auto all = [&](const Policy& exclude) {
    return excludes_all(std::vector{policy("p"), exclude}, here) != nullptr;
  };
  EXPECT_TRUE(all(off));
  EXPECT_FALSE(resolve_node(std::vector{policy("p", Level::Detailed), off}, here).selected);
  for (const uint8_t flags : provisional_flags(std::vector{policy("p"), off}, here)) EXPECT_EQ(flags, 0);
  Policy narrow = off;
  narrow.node_selector = LabelSelector{{{"disk", "ssd"}}, {}};
  narrow.pod_selector = LabelSelector{};
  EXPECT_TRUE(all(narrow)) << "this node, and an empty selector selects everything";
  narrow.node_selector = LabelSelector{{{"disk", "hdd"}}, {}};
  EXPECT_FALSE(all(narrow));
  std::vector<Policy> others(6, off);
  others[0].pod_selector = LabelSelector{{{"app", "a"}}, {}};
  others[1].namespace_name = "shop";
  others[2].cgroups = {"/x"};
  others[3].active_for_seconds = 1;
  others[4].mode = Mode::Monitor;
  others[5].probes = {probe("disk")};
  for (const Policy& other : others) EXPECT_FALSE(all(other));
  // Of one probe alone: its metrics of the node, and its flags for whom is not known yet.
  const std::vector<Policy> in_part{policy("p", Level::Detailed), others[5]};
  EXPECT_FALSE(resolve_node(in_part, here).selected);
  EXPECT_EQ(provisional_flags(in_part, here)[kDisk], 0);
  EXPECT_NE(provisional_flags(in_part, here)[kCpu], 0);
}

TEST(Fleet, PoliciesOfANamespaceHaveLowerCeilings) {
  using namespace made_up;
  Policy tenant = policy("web", Level::Detailed);
  tenant.namespace_name = "shop";
  tenant.period_seconds = 1;
  tenant.granularity = Granularity::Process;
  tenant.series_per_container = 1000;
  const Decision decision = decide({tenant});
  EXPECT_EQ(decision.probes[kDisk].level, Level::Standard);
  EXPECT_EQ(decision.period_ms, 10'000u);
  EXPECT_EQ(decision.granularity, Granularity::Container);
  EXPECT_EQ(decision.series_per_container, 200);
  for (const char* sentence : {"shop/web: disk at Detailed exceeds the ceiling for namespaced policies, Standard",
                               "shop/web: periodSeconds 1 exceeds the ceiling for namespaced policies, 10",
                               "shop/web: granularity Process exceeds the ceiling for namespaced policies, Container",
                               "shop/web: seriesPerContainer 1000 exceeds the ceiling for namespaced policies, 200"}) {
    EXPECT_NE(std::ranges::find(decision.overridden, sentence), decision.overridden.end()) << sentence;
  }
  // Within them nothing is overridden, and what a policy of the cluster asks of the same container stays.
  Policy modest = policy("modest");
  modest.namespace_name = "shop";
  modest.period_seconds = 60;
  EXPECT_EQ(decide({modest}).overridden, std::vector<std::string>());
  EXPECT_EQ(decide({modest}).period_ms, 60'000u);
  Policy cluster = tenant;
  cluster.name = "all";
  cluster.namespace_name.clear();
  EXPECT_EQ(decide({cluster}).overridden, std::vector<std::string>());
  EXPECT_EQ(decide({cluster, modest}).period_ms, 1'000u);
  EXPECT_EQ(decide({cluster, modest}).probes[kDisk].level, Level::Detailed);
}

TEST(Fleet, TheCeilingOfAllHoldsForPoliciesOfANamespaceToo) {
  ResolveContext context = made_up::context();
  context.ceilings.level = Level::Minimal;
  context.ceilings.min_period_ms = 60'000;
  Policy tenant = made_up::policy("web");
  tenant.namespace_name = "shop";
  tenant.period_seconds = 1;
  const Decision decision = resolve(std::vector{tenant}, made_up::container(), {}, context);
  EXPECT_EQ(decision.probes[kDisk].level, Level::Minimal);
  EXPECT_EQ(decision.period_ms, 60'000u);
}

}  // namespace
}  // namespace sonde
