// SPDX-License-Identifier: Apache-2.0
// What `traces` of policies make of a subject.
#include <gtest/gtest.h>

#include "agent/policy/plan.h"
#include "agent/policy/resolve.h"
#include "agent/policy/trace_rules.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

using namespace made_up;  // NOLINT

Policy traced(std::string name, Level preset = Level::None) {
  Policy made = policy(std::move(name), preset);
  made.traces_enabled = true;
  return made;
}

Decision decide(std::vector<Policy> policies, const ResolveContext& context = made_up::context()) {
  return resolve(policies, container(), {}, context);
}

uint32_t threshold(const Decision& decision, SpanOperation operation) {
  return decision.traces.threshold_us[static_cast<std::size_t>(operation)];
}

TEST(Traces, AreOffUnlessAPolicyEnablesThem) {
  Policy off = policy("off");
  off.traces_enabled = false;
  for (const Policy& one : {policy("silent"), off}) {
    const Decision decision = decide({one});
    EXPECT_EQ(decision.traces, TraceSettings()) << one.name;
    EXPECT_TRUE(decision.overridden.empty());
  }
}

TEST(Traces, HaveTheDefaultThresholdsOfWhatSomeModuleSends) {
  const Decision decision = decide({traced("p", Level::Standard)});
  EXPECT_EQ(decision.traces.policy, "p");
  EXPECT_EQ(threshold(decision, SpanOperation::Read), 100'000U);
  EXPECT_EQ(threshold(decision, SpanOperation::Fsync), 100'000U);
  EXPECT_EQ(threshold(decision, SpanOperation::Open), 100'000U);
  EXPECT_EQ(threshold(decision, SpanOperation::Connect), 0U) << "no module of these sends it";
  EXPECT_EQ(decision.traces.trees_per_second, 1);
  EXPECT_EQ(decision.traces.errors, 0U) << "by default only of connections and DNS";
  EXPECT_TRUE(decision.traces.peer_address);
  EXPECT_TRUE(decision.overridden.empty());
}

TEST(Traces, OfTheRealModulesHaveTheThresholdsOfTheDocument) {
  Policy one = traced("p");
  one.namespace_name = "";
  ResolveContext context = made_up::context();
  context.modules = sonde::modules();
  const Decision decision = resolve(std::vector{one}, container(), {}, context);
  const std::map<SpanOperation, uint32_t> wanted{
      {SpanOperation::Fsync, 100'000},         {SpanOperation::Read, 100'000},     {SpanOperation::Write, 100'000},
      {SpanOperation::Open, 100'000},          {SpanOperation::Rename, 100'000},   {SpanOperation::Unlink, 100'000},
      {SpanOperation::Connect, 900'000},       {SpanOperation::DnsLookup, 1'000'000}, {SpanOperation::BlockIO, 500'000},
      {SpanOperation::DirectReclaim, 100'000}, {SpanOperation::LockWait, 100'000}, {SpanOperation::OomKill, 1}};
  for (unsigned i = 0; i < kSpanOperations; ++i) {
    const auto operation = static_cast<SpanOperation>(i);
    EXPECT_EQ(threshold(decision, operation), wanted.contains(operation) ? wanted.at(operation) : 0U) << word_of(operation);
  }
  EXPECT_EQ(decision.traces.errors, 1U << static_cast<unsigned>(SpanOperation::Connect) |
                                        1U << static_cast<unsigned>(SpanOperation::DnsLookup));
}

TEST(Traces, AskForWhatTheyNeedAndExportNothing) {
  Policy one = traced("p");
  one.trace_operations = {"Fsync"};
  const Decision decision = decide({one});
  EXPECT_TRUE(decision.selected);
  EXPECT_EQ(decision.probes[kDisk].flags, 2);
  EXPECT_EQ(decision.probes[kDisk].metrics, 0U);
  EXPECT_EQ(decision.probes[kDisk].level, Level::None);
  EXPECT_EQ(decision.probes[kCpu].flags, 0);
  EXPECT_EQ(threshold(decision, SpanOperation::Read), 0U);
  const auto made = std::make_shared<const Decision>(decision);
  EXPECT_EQ(plan_of(std::vector<DecisionPtr>{made}, made_up::modules()).probes[kDisk].flags, 2);
  EXPECT_EQ(provisional_flags(std::vector{one}, context())[kDisk], 2);
}

TEST(Traces, FlagsJoinThoseOfMetrics) {
  Policy one = traced("p", Level::Minimal);
  one.trace_operations = {"Open"};
  EXPECT_EQ(decide({one}).probes[kDisk].flags, 1 | 8);
}

TEST(Traces, ThresholdsErrorsAndIncludeOfThePolicy) {
  Policy one = traced("p");
  one.trace_thresholds = {{"Fsync", "", 5'000}, {"Connect", "", 5'000}};
  one.trace_errors = true;
  one.trace_include.emplace();
  const Decision decision = decide({one});
  EXPECT_EQ(threshold(decision, SpanOperation::Fsync), 5'000U);
  EXPECT_EQ(threshold(decision, SpanOperation::Read), 100'000U);
  EXPECT_EQ(decision.traces.errors, 0b1101U) << "of what is recorded";
  EXPECT_FALSE(decision.traces.peer_address);
  EXPECT_EQ(decision.overridden, std::vector<std::string>{"p: traces: this version does not record Connect"});
}

TEST(Traces, AThresholdOutsideTheListIsNoted) {
  Policy one = traced("p");
  one.trace_operations = {"Fsync"};
  one.trace_thresholds = {{"Read", "", 5'000}};
  const Decision decision = decide({one});
  EXPECT_EQ(threshold(decision, SpanOperation::Read), 0U);
  EXPECT_EQ(decision.overridden,
            std::vector<std::string>{
                "p: traces: the threshold of Read has no effect, because operations does not list it"});
}

TEST(Traces, TheFirstPolicyDecidesAll) {
  Policy first = traced("a"), second = traced("b"), off = policy("off", Level::None);
  first.trace_thresholds = {{"Fsync", "", 5'000}};
  second.trees_per_second = 9;
  Decision decision = decide({second, first});
  EXPECT_EQ(decision.traces.policy, "a");
  EXPECT_EQ(decision.traces.trees_per_second, 1);
  EXPECT_EQ(decision.winners.at("traces"), "a");
  EXPECT_EQ(decision.overridden, std::vector<std::string>{"b: traces is overridden by that of a"});
  off.priority = 1;
  off.traces_enabled = false;
  decision = decide({first, off});
  EXPECT_EQ(decision.traces, TraceSettings());
  EXPECT_EQ(decision.overridden, std::vector<std::string>{"a: traces is overridden by that of off"});
}

TEST(Traces, Ceilings) {
  Policy one = traced("p");
  one.trees_per_second = 50;
  Decision decision = decide({one});
  EXPECT_EQ(decision.traces.trees_per_second, 10);
  EXPECT_EQ(decision.overridden,
            std::vector<std::string>{"p: treesPerSecondPerNode 50 exceeds the agent's ceiling 10"});
  one.namespace_name = "shop";
  decision = decide({one});
  EXPECT_EQ(decision.traces.trees_per_second, 0.2);
  one.trees_per_second.reset();
  decision = decide({one});
  EXPECT_EQ(decision.traces.trees_per_second, 0.2);
  EXPECT_TRUE(decision.overridden.empty()) << "it did not ask for more";
}

TEST(Traces, SamplingAndExcludeTakeThemAway) {
  Policy one = traced("p", Level::Standard);
  one.probes = {{.name = "disk", .sample_histograms_every = 4}};
  Decision decision = decide({one});
  EXPECT_EQ(decision.traces, TraceSettings());
  ASSERT_EQ(decision.overridden.size(), 1U);
  EXPECT_EQ(decision.overridden[0],
            "p: traces does not record Read, Fsync, Open: disk takes the time of one operation in 4 "
            "(sampleHistogramsEvery)");
  Policy never = policy("never");
  never.mode = Mode::Exclude;
  never.probes = {{.name = "disk"}};
  decision = decide({traced("p", Level::Standard), never});
  EXPECT_EQ(decision.traces, TraceSettings());
  EXPECT_EQ(decision.probes[kDisk].flags, 0);
}

FunctionAsk function(const std::string& name, std::vector<std::string> measure) {
  FunctionRequest request;
  request.name = name;
  request.type = "Kernel";
  request.symbol = name;
  request.measure = std::move(measure);
  return {request, "p"};
}

TEST(TraceRules, FunctionsHaveTheirOwnThresholdAndNeedTheirDuration) {
  Policy one = traced("p");
  one.trace_thresholds = {{"", "slow", 7'000}, {"", "counted", 7'000}};
  const std::vector<FunctionAsk> functions{function("counted", {"Calls"}), function("other", {"Duration"}),
                                           function("slow", {"Calls", "Duration"})};
  const TraceRules rules(sonde::modules(), one, functions);
  const std::map<std::string, uint32_t, std::less<>> wanted{{"other", 100'000}, {"slow", 7'000}};
  EXPECT_EQ(rules.settings().functions, wanted);
  EXPECT_EQ(rules.settings().threshold_us[static_cast<std::size_t>(SpanOperation::Function)], 7'000U);
  EXPECT_EQ(rules.sentences(),
            std::vector<std::string>{"traces does not record the function counted: add Duration to its measure"});
}

}  // namespace
}  // namespace sonde
