// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/resolve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

using made_up::kCpu;
using made_up::kDisk;

uint64_t bits(std::initializer_list<int> metrics) {
  uint64_t mask = 0;
  for (int metric : metrics) mask |= 1ULL << metric;
  return mask;
}

Decision decide(const std::vector<Policy>& policies, ResolveContext context = made_up::context()) {
  return resolve(policies, made_up::container(), {}, context);
}

ProbeRequest probe(std::string name, std::optional<Level> level = {}) {
  ProbeRequest request;
  request.name = std::move(name);
  request.level = level;
  return request;
}

TEST(Resolve, NobodyAsksNothingIsSelected) {
  Decision decision = decide({});
  EXPECT_FALSE(decision.selected);
  ASSERT_EQ(decision.probes.size(), 2u);
  EXPECT_EQ(decision.probes[kDisk].flags, 0);
}

struct LevelCase {
  Level preset;
  uint64_t metrics;
  uint8_t flags;
};

TEST(Resolve, LevelsContainThoseBefore) {
  using namespace made_up;
  const LevelCase cases[] = {
      {Level::None, 0, 0},
      {Level::Minimal, bits({kBytes}), 1},
      {Level::Standard, bits({kBytes, kDuration, kErrors}), 1 | 2 | 4},
      {Level::Detailed, bits({kBytes, kDuration, kErrors, kOpen}), 1 | 2 | 4 | 8 | 16},
  };
  for (const LevelCase& c : cases) {
    Decision decision = decide({policy("p", c.preset)});
    SCOPED_TRACE(word_of(c.preset));
    EXPECT_EQ(decision.selected, c.preset != Level::None);
    EXPECT_EQ(decision.probes[kDisk].level, c.preset);
    EXPECT_EQ(decision.probes[kDisk].metrics, c.metrics);
    EXPECT_EQ(decision.probes[kDisk].flags, c.flags);
  }
}

TEST(Resolve, ProbesAddToOrChangeThePreset) {
  Policy policy = made_up::policy("p", Level::Minimal);
  policy.probes = {probe("disk", Level::Detailed)};
  Decision decision = decide({policy});
  EXPECT_EQ(decision.probes[kDisk].level, Level::Detailed);
  EXPECT_EQ(decision.probes[kCpu].level, Level::Minimal);
  policy.probes = {probe("disk", Level::None)};
  decision = decide({policy});
  EXPECT_EQ(decision.probes[kDisk].level, Level::None);
  EXPECT_EQ(decision.probes[kDisk].flags, 0);
  EXPECT_EQ(decision.probes[kCpu].level, Level::Minimal);
}

TEST(Resolve, ProbesAloneAskOnlyForThemselves) {
  Policy policy = made_up::policy("p");
  policy.preset.reset();
  policy.probes = {probe("disk")};
  Decision decision = decide({policy});
  EXPECT_EQ(decision.probes[kDisk].level, Level::Standard);
  EXPECT_EQ(decision.probes[kCpu].level, Level::None);
  policy.probes.clear();
  decision = decide({policy});
  EXPECT_EQ(decision.probes[kCpu].level, Level::Standard);
}

TEST(Resolve, AliasAndAll) {
  Policy policy = made_up::policy("p", Level::None);
  policy.probes = {probe("storage", Level::Minimal)};
  EXPECT_EQ(decide({policy}).probes[kDisk].level, Level::Minimal);
  // A probe's own entry beats `all` wherever it stands.
  policy.probes = {probe("disk", Level::Detailed), probe("all", Level::Minimal)};
  Decision decision = decide({policy});
  EXPECT_EQ(decision.probes[kDisk].level, Level::Detailed);
  EXPECT_EQ(decision.probes[kCpu].level, Level::Minimal);
}

TEST(Resolve, OptInByName) {
  using namespace made_up;
  Policy asking = policy("p", Level::None);
  asking.probes = {probe("disk", Level::None)};
  asking.probes[0].include_metrics = {"sonde.disk.drops"};
  Decision decision = decide({asking});
  EXPECT_TRUE(decision.selected);
  EXPECT_EQ(decision.probes[kDisk].metrics, bits({kDrops}));
  EXPECT_EQ(decision.probes[kDisk].flags, 32);
  // A Detailed metric by name at Standard brings all its series, and no other metric's.
  asking.probes = {probe("disk", Level::Standard)};
  asking.probes[0].include_metrics = {"sonde.disk.open"};
  EXPECT_EQ(decide({asking}).probes[kDisk].flags, 1 | 2 | 4 | 16);
}

TEST(Resolve, ExcludedMetricsCostNothing) {
  using namespace made_up;
  Policy sparing = policy("p");
  sparing.probes = {probe("disk")};
  sparing.probes[0].exclude_metrics = {"sonde.disk.duration"};
  Decision decision = decide({sparing});
  EXPECT_EQ(decision.probes[kDisk].metrics, bits({kBytes, kErrors}));
  EXPECT_EQ(decision.probes[kDisk].flags, 1 | 4);
}

TEST(Resolve, FirstToSpeakOfAMetricDecides) {
  using namespace made_up;
  Policy sparing = policy("sparing");
  sparing.probes = {probe("disk")};
  sparing.probes[0].exclude_metrics = {"sonde.disk.duration"};
  // Against the default policy an exclusion always wins.
  Decision decision = decide({default_policy(Level::Standard, {}), sparing});
  EXPECT_EQ(decision.probes[kDisk].metrics, bits({kBytes, kErrors}));
  EXPECT_EQ(decision.overridden,
            std::vector<std::string>{"default: sonde.disk.duration is excluded by a policy of higher precedence"});
  // One that comes first and asks for it keeps it.
  Policy asking = policy("asking");
  asking.priority = 10;
  EXPECT_EQ(decide({sparing, asking}).probes[kDisk].metrics, bits({kBytes, kDuration, kErrors}));
}

TEST(Resolve, ExcludeWinsWhateverItsRank) {
  Policy exclude = made_up::policy("quiet");
  exclude.mode = Mode::Exclude;
  exclude.namespace_name = "shop";
  Policy loud = made_up::policy("loud", Level::Detailed);
  loud.priority = 1000;
  Decision decision = decide({loud, exclude, default_policy(Level::Standard, {})});
  EXPECT_FALSE(decision.selected);
  EXPECT_EQ(decision.probes[kDisk].flags, 0);
  EXPECT_EQ(decision.probes[kDisk].metrics, 0u);
  EXPECT_EQ(decision.winners.at("mode"), "shop/quiet");
  EXPECT_EQ(decision.overridden,
            (std::vector<std::string>{"default: excluded by shop/quiet", "loud: excluded by shop/quiet"}));
}

TEST(Resolve, ExcludeOfOthersDoesNothing) {
  Policy exclude = made_up::policy("quiet");
  exclude.mode = Mode::Exclude;
  exclude.namespace_name = "bank";
  EXPECT_TRUE(decide({made_up::policy("p"), exclude}).selected);
}

TEST(Resolve, ProbesAreUnitedAtTheHighestLevel) {
  Policy a = made_up::policy("a", Level::None), b = made_up::policy("b", Level::None);
  a.priority = 100;
  a.probes = {probe("disk", Level::Minimal), probe("cpu", Level::Minimal)};
  b.probes = {probe("disk", Level::Detailed)};
  Decision decision = decide({a, b});
  EXPECT_EQ(decision.probes[kDisk].level, Level::Detailed);
  EXPECT_EQ(decision.probes[kCpu].level, Level::Minimal);
  EXPECT_EQ(decision.winners.at("disk.level"), "b");
  EXPECT_EQ(decision.winners.at("cpu.level"), "a");
  EXPECT_EQ(decision.policies, (std::vector<std::string>{"a", "b"}));
}

struct OrderCase {
  const char* what;
  Policy first, second;
};

Policy ranked(std::string name, std::string namespace_name, int priority, int period) {
  Policy policy = made_up::policy(std::move(name));
  policy.namespace_name = std::move(namespace_name);
  policy.priority = priority;
  policy.period_seconds = period;
  return policy;
}

TEST(Resolve, SingleValuesComeFromTheFirstInOrder) {
  const OrderCase cases[] = {
      {"cluster before namespaced, whatever the priority", ranked("z", "", 0, 11), ranked("a", "shop", 1000, 22)},
      {"then priority", ranked("z", "", 5, 11), ranked("a", "", 4, 22)},
      {"then name", ranked("a", "", 5, 11), ranked("b", "", 5, 22)},
      {"priority among namespaced", ranked("z", "shop", 1, 11), ranked("a", "shop", 0, 22)},
  };
  for (const OrderCase& c : cases) {
    SCOPED_TRACE(c.what);
    for (bool swapped : {false, true}) {
      Decision decision = decide(swapped ? std::vector{c.second, c.first} : std::vector{c.first, c.second});
      EXPECT_EQ(decision.period_ms, 11'000u);
      EXPECT_EQ(decision.winners.at("periodSeconds"), display_name(c.first));
      EXPECT_EQ(decision.overridden,
                std::vector<std::string>{display_name(c.second) + ": periodSeconds 22 is overridden by 11 of " +
                                         display_name(c.first)});
    }
  }
}

TEST(Resolve, DefaultPolicyComesLast) {
  Policy base = default_policy(Level::Standard, {});
  base.period_seconds = 5;
  Policy mine = ranked("zzz", "shop", 0, 60);
  EXPECT_EQ(decide({base, mine}).period_ms, 60'000u);
}

TEST(Resolve, EveryValueHasItsOwnWinner) {
  Policy a = made_up::policy("a"), b = made_up::policy("b");
  a.granularity = Granularity::Process;
  a.pod_labels = std::vector<std::string>{"team"};
  b.granularity = Granularity::Pod;
  b.cleanup = CleanupStrategy::ClearAfterRead;
  b.idle_seconds = 60;
  b.series_per_container = 77;
  b.series_per_node = 5'000;
  b.pod_annotations = std::vector<std::string>{"owner"};
  Decision decision = decide({b, a});
  EXPECT_EQ(decision.granularity, Granularity::Process);
  EXPECT_EQ(decision.cleanup, CleanupStrategy::ClearAfterRead);
  EXPECT_EQ(decision.idle_seconds, 60);
  EXPECT_EQ(decision.series_per_container, 77);
  EXPECT_EQ(decision.series_per_node, 5'000);
  EXPECT_EQ(decision.pod_labels, std::vector<std::string>{"team"});
  EXPECT_EQ(decision.pod_annotations, std::vector<std::string>{"owner"});
  EXPECT_EQ(decision.winners.at("granularity"), "a");
  EXPECT_EQ(decision.winners.at("cleanup"), "b");
  EXPECT_EQ(decision.overridden, std::vector<std::string>{"b: granularity Pod is overridden by Process of a"});
}

TEST(Resolve, WhatNobodySaysIsTheDefault) {
  auto context = made_up::context();
  context.defaults.period_ms = 20;
  context.defaults.cleanup = CleanupStrategy::NoCleanup;
  Decision decision = decide({made_up::policy("p")}, context);
  EXPECT_EQ(decision.period_ms, 20u);  // --interval may be shorter than a policy's seconds
  EXPECT_EQ(decision.cleanup, CleanupStrategy::NoCleanup);
  EXPECT_EQ(decision.series_per_container, 200);
  EXPECT_EQ(decision.winners.count("periodSeconds"), 0u);
  EXPECT_TRUE(decision.overridden.empty());
}

TEST(Resolve, SamplingPerProbeFromTheFirst) {
  Policy a = made_up::policy("a"), b = made_up::policy("b");
  a.probes = {probe("all")};
  a.probes[0].sample_histograms_every = 4;
  b.probes = {probe("disk")};
  b.probes[0].sample_histograms_every = 2;
  Decision decision = decide({b, a});
  EXPECT_EQ(decision.probes[kDisk].sample_every, 4);
  EXPECT_EQ(decision.probes[kCpu].sample_every, 4);
  EXPECT_EQ(decision.overridden, std::vector<std::string>{"b: disk.sampleHistogramsEvery 2 is overridden by 4 of a"});
}

TEST(Resolve, CeilingsClamp) {
  auto context = made_up::context();
  context.ceilings = {.level = Level::Standard,
                      .min_period_ms = 5'000,
                      .granularity = Granularity::Container,
                      .series_per_container = 100,
                      .series_per_node = 1'000};
  Policy greedy = made_up::policy("greedy", Level::Detailed);
  greedy.period_seconds = 1;
  greedy.granularity = Granularity::Process;
  greedy.series_per_container = 500;
  greedy.series_per_node = 9'999;
  greedy.probes = {probe("disk", Level::Detailed)};
  greedy.probes[0].include_metrics = {"sonde.disk.drops"};
  Decision decision = decide({greedy}, context);
  EXPECT_EQ(decision.probes[kDisk].level, Level::Standard);
  EXPECT_EQ(decision.probes[kDisk].metrics, bits({made_up::kBytes, made_up::kDuration, made_up::kErrors}));
  EXPECT_EQ(decision.period_ms, 5'000u);
  EXPECT_EQ(decision.granularity, Granularity::Container);
  EXPECT_EQ(decision.series_per_container, 100);
  EXPECT_EQ(decision.series_per_node, 1'000);
  EXPECT_EQ(decision.overridden,
            (std::vector<std::string>{"greedy: disk at Detailed exceeds the agent's ceiling Standard",
                                      "greedy: sonde.disk.drops exceeds the agent's ceiling Standard",
                                      "greedy: cpu at Detailed exceeds the agent's ceiling Standard",
                                      "greedy: periodSeconds 1 exceeds the agent's ceiling 5",
                                      "greedy: granularity Process exceeds the agent's ceiling Container",
                                      "greedy: seriesPerContainer 500 exceeds the agent's ceiling 100",
                                      "greedy: seriesPerNode 9999 exceeds the agent's ceiling 1000"}));
}

TEST(Resolve, NodeMetricsAreAskedOfTheNodeAlone) {
  using namespace made_up;
  Policy cluster = policy("c", Level::Detailed);
  cluster.pod_selector = LabelSelector{{{"app", "none"}}, {}};  // whom it selects besides does not matter
  const auto ask = [](std::vector<Policy> policies) { return resolve_node(policies, context()); };
  EXPECT_EQ(ask({cluster}).probes[kDisk].metrics, bits({kDevices}));
  EXPECT_EQ(ask({cluster}).probes[kDisk].flags, 64);
  EXPECT_TRUE(ask({cluster}).selected);
  EXPECT_FALSE(ask({policy("s", Level::Standard)}).selected);
  Policy tenant = policy("t", Level::Detailed), elsewhere = cluster, past = cluster;
  tenant.namespace_name = "shop";
  elsewhere.node_selector = LabelSelector{{{"disk", "ssd"}}, {}};
  past.active_for_seconds = 1;
  EXPECT_FALSE(ask({tenant, elsewhere, past}).selected);
  cluster.probes = {{.name = "disk", .exclude_metrics = {"sonde.disk.devices"}}};
  EXPECT_FALSE(ask({cluster}).selected);
}

TEST(Resolve, ExpiredPoliciesAskNothing) {
  Policy past = made_up::policy("past");
  past.created_ns = 1;
  past.active_for_seconds = 10;
  EXPECT_FALSE(decide({past}).selected);
  Policy exclude = past;
  exclude.name = "exclude";
  exclude.mode = Mode::Exclude;
  EXPECT_TRUE(decide({exclude, made_up::policy("p")}).selected);
}

TEST(Resolve, DefaultPolicyWithSomeProbes) {
  const std::vector<std::string> names{"storage"};
  Decision decision = decide({default_policy(Level::Detailed, names)});
  EXPECT_EQ(decision.probes[kDisk].level, Level::Detailed);
  EXPECT_EQ(decision.probes[kCpu].level, Level::None);
}

// A policy in which everything that resolve() looks at is drawn by lot.
Policy drawn(std::mt19937& random, int number) {
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Policy policy = made_up::policy("p" + std::to_string(number));
  policy.mode = below(12) == 0 ? Mode::Exclude : Mode::Monitor;
  policy.priority = below(3);
  if (below(2)) policy.namespace_name = below(3) ? "shop" : "bank";
  policy.is_default = below(6) == 0;
  if (below(2))
    policy.preset = static_cast<Level>(below(4));
  else
    policy.preset.reset();
  for (const char* name : {"all", "disk", "cpu"}) {
    if (below(2)) continue;
    ProbeRequest request = probe(name);
    if (below(2)) request.level = static_cast<Level>(below(4));
    if (below(2)) request.sample_histograms_every = 1 + below(3);
    if (below(3) == 0) request.exclude_metrics = {"sonde.disk.duration"};
    if (below(3) == 0) request.include_metrics = {"sonde.disk.drops"};
    policy.probes.push_back(request);
  }
  if (below(2)) policy.period_seconds = 1 + below(20);
  if (below(2)) policy.granularity = static_cast<Granularity>(below(3));
  if (below(2)) policy.cleanup = static_cast<CleanupStrategy>(below(3));
  if (below(2)) policy.idle_seconds = 1 + below(3);
  if (below(2)) policy.series_per_container = 100 + below(3000);
  if (below(2)) policy.pod_labels = std::vector<std::string>(static_cast<std::size_t>(below(3)), "l");
  if (below(5) == 0) policy.active_for_seconds = below(2) ? 1 : 100'000;
  return policy;
}

std::string everything(const Decision& d) {
  std::string text = std::to_string(d.selected);
  for (const ProbeDecision& p : d.probes) {
    for (uint64_t n : {static_cast<uint64_t>(p.level), p.metrics, uint64_t{p.sample_every}, uint64_t{p.flags}}) {
      text += ' ' + std::to_string(n);
    }
  }
  for (uint64_t n : {uint64_t{d.period_ms}, static_cast<uint64_t>(d.granularity), static_cast<uint64_t>(d.cleanup),
                     static_cast<uint64_t>(d.idle_seconds), static_cast<uint64_t>(d.series_per_container)}) {
    text += ' ' + std::to_string(n);
  }
  for (const auto& [field, winner] : d.winners) text += '\n' + field + '=' + winner;
  for (const auto* list : {&d.overridden, &d.policies, &d.pod_labels}) {
    for (const std::string& line : *list) text += '\n' + line;
  }
  return text;
}

TEST(Resolve, DoesNotDependOnTheOrderGiven) {
  std::mt19937 random(7);
  int selected = 0;
  for (int round = 0; round < 500; ++round) {
    std::vector<Policy> policies;
    for (int i = 0; i < 6; ++i) policies.push_back(drawn(random, i));
    Decision decision = decide(policies);
    selected += decision.selected;
    const std::string expected = everything(decision);
    for (int shuffle = 0; shuffle < 6; ++shuffle) {
      std::ranges::shuffle(policies, random);
      ASSERT_EQ(everything(decide(policies)), expected) << "round " << round;
    }
  }
  EXPECT_GT(selected, 100);
  EXPECT_LT(selected, 500);
}

TEST(Resolve, MorePoliciesNeverLowerALevelUnlessExcluded) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<Policy> policies;
    for (int i = 0; i < 4; ++i) {
      policies.push_back(drawn(random, i));
      policies.back().mode = Mode::Monitor;
      for (ProbeRequest& request : policies.back().probes) request.exclude_metrics.clear();
    }
    Decision all = decide(policies);
    policies.pop_back();
    Decision fewer = decide(policies);
    for (int module : {kDisk, kCpu}) {
      ASSERT_GE(all.probes[module].level, fewer.probes[module].level);
      ASSERT_EQ(fewer.probes[module].metrics & ~all.probes[module].metrics, 0u);
      ASSERT_EQ(fewer.probes[module].flags & ~all.probes[module].flags, 0);
    }
  }
}

TEST(Resolve, WorksOnTheModulesOfThisBuild) {
  ResolveContext context;
  const std::vector<Policy> policies{default_policy(Level::Detailed, {})};
  Decision decision = resolve(policies, made_up::container(), {}, context);
  Decision node = resolve_node(policies, context);
  ASSERT_EQ(decision.probes.size(), modules().size());
  ASSERT_EQ(node.probes.size(), modules().size());
  for (std::size_t i = 0; i < modules().size(); ++i) {
    const ModuleInfo& info = modules()[i].module->info();
    for (const SeriesSpec& series : info.series) {
      const MetricSpec& metric = info.metrics[series.metric];
      const bool wanted = series.level <= Level::Detailed && metric.level <= Level::Detailed;
      EXPECT_EQ(exports(decision.probes[i], info, series), wanted && !metric.node) << metric.name;
      EXPECT_EQ(exports(node.probes[i], info, series), wanted && metric.node) << metric.name;
    }
  }
}

}  // namespace
}  // namespace sonde
