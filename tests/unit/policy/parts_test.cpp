// SPDX-License-Identifier: Apache-2.0
// A probe that consists of several modules: what names the whole means the parts, a part's own name only itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "agent/policy/estimate.h"
#include "agent/policy/resolve.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

ProbeRequest probe(std::string name, std::optional<Level> level = {}) {
  ProbeRequest request;
  request.name = std::move(name);
  request.level = level;
  return request;
}

Policy policy_of(std::vector<ProbeRequest> probes, Mode mode = Mode::Monitor) {
  Policy policy;
  policy.name = "p";
  policy.mode = mode;
  policy.probes = std::move(probes);
  return policy;
}

// Names of the modules that are measured, of those that exist in this build.
std::set<std::string> measured(const Decision& decision) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < decision.probes.size(); ++i) {
    if (decision.probes[i].metrics) names.emplace(modules()[i].module->info().name);
  }
  return names;
}
std::set<std::string> measured(const std::vector<Policy>& policies) {
  return measured(resolve(policies, made_up::container(), {}, ResolveContext{}));
}
using Names = std::set<std::string>;

TEST(Parts, TheNamesOfTheProbeMeanAllOfThem) {
  for (const char* name : {"sched", "cpu"}) {
    EXPECT_EQ(measured({policy_of({probe(name, Level::Minimal)})}), (Names{"sched", "throttle"})) << name;
    EXPECT_EQ(measured({default_policy(Level::Standard, std::vector<std::string>{name})}),
              (Names{"sched", "throttle"}));
  }
  EXPECT_EQ(measured({policy_of({probe("throttle", Level::Minimal)})}), Names{"throttle"});
}

TEST(Parts, TheirOwnEntryIsTheExceptionWhateverStandsFirst) {
  const ProbeRequest whole = probe("sched", Level::Standard), part = probe("throttle", Level::None);
  EXPECT_EQ(measured({policy_of({whole, part})}), Names{"sched"});
  EXPECT_EQ(measured({policy_of({part, whole})}), Names{"sched"});
  EXPECT_FALSE(measured({policy_of({probe("all"), probe("sched", Level::None)})}).contains("throttle"));
  EXPECT_TRUE(
      measured({policy_of({probe("sched", Level::None), probe("throttle"), probe("all")})}).contains("throttle"));
}

TEST(Parts, AreExcludedWithTheProbe) {
  const std::vector<Policy> both = {policy_of({probe("all", Level::Minimal)}),
                                    policy_of({probe("cpu")}, Mode::Exclude)};
  const Names left = measured(both);
  EXPECT_TRUE(left.contains("io"));
  EXPECT_FALSE(left.contains("sched") || left.contains("throttle"));
  const Names others =
      measured({policy_of({probe("all", Level::Minimal)}), policy_of({probe("throttle")}, Mode::Exclude)});
  EXPECT_TRUE(others.contains("sched"));
  EXPECT_FALSE(others.contains("throttle"));
}

TEST(Parts, TheirMetricsAreRequestedByTheNameOfTheProbe) {
  ProbeRequest request = probe("sched", Level::None);
  request.include_metrics = {"sonde.irq.time", "sonde.cpu.frequency"};
  const std::vector<Policy> policies = {policy_of({request})};
  EXPECT_EQ(measured(policies), Names{}) << "they are the node's";
  EXPECT_EQ(measured(resolve_node(policies, ResolveContext{})), (Names{"cpufreq", "interrupts"}));
  const std::vector<std::string> names = {"cpu"};
  EXPECT_EQ(measured(resolve_node(std::vector{default_policy(Level::OptIn, names)}, ResolveContext{})),
            (Names{"cpufreq", "interrupts"}));
  request.exclude_metrics = {"sonde.cpu.periods"};
  request.include_metrics.clear();
  request.level = Level::Minimal;
  const Decision decision = resolve_alone(policy_of({request}), ResolveContext{});
  const auto throttle = static_cast<std::size_t>(find_module("throttle"));
  EXPECT_EQ(std::popcount(decision.probes[throttle].metrics), 2);
}

TEST(Parts, AddNothingToTheCostOfAnEvent) {
  const Estimate estimated = estimate(resolve_alone(policy_of({probe("sched", Level::Minimal)}), ResolveContext{}), {});
  const auto of = [&](std::string_view name) {
    const auto found = std::ranges::find(estimated.probes, name, &ProbeEstimate::probe);
    return found == estimated.probes.end() ? ProbeEstimate{} : *found;
  };
  EXPECT_EQ(of("throttle").series, 3);
  EXPECT_EQ(of("throttle").ns_per_event, 0);
  EXPECT_EQ(of("sched").series, 10) << "thread time by nine states, and the histogram";
  EXPECT_GT(of("sched").ns_per_event, 0);
}

}  // namespace
}  // namespace sonde
