// SPDX-License-Identifier: Apache-2.0
// Declared functions of all policies that select a subject.
#include <gtest/gtest.h>

#include "agent/policy/resolve.h"
#include "agent/policy/tenancy.h"

namespace sonde {
namespace {

Subject container() {
  Subject subject;
  subject.kind = SubjectKind::Container;
  subject.cgroup_path = "/box";
  subject.namespace_name = "shop";
  return subject;
}

Policy policy_with(const std::string& name, std::vector<FunctionRequest> functions) {
  Policy policy;
  policy.name = name;
  policy.functions = std::move(functions);
  return policy;
}

FunctionRequest uprobe(const std::string& name, const std::string& symbol, std::vector<std::string> measure) {
  FunctionRequest request;
  request.name = name;
  request.type = "Uprobe";
  request.path = "/app";
  request.symbol = symbol;
  request.measure = std::move(measure);
  return request;
}

std::vector<std::string> metrics_of(const Decision& decision) {
  const int module = find_module("function");
  const ModuleInfo& info = modules()[static_cast<std::size_t>(module)].module->info();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < info.metrics.size(); ++i) {
    if (decision.probes[static_cast<std::size_t>(module)].metrics >> i & 1) names.emplace_back(info.metrics[i].name);
  }
  return names;
}

TEST(DeclaredFunctions, BringTheMetricsTheyMeasureAndNoOthers) {
  const Policy policy = policy_with("one", {uprobe("f", "f", {"Calls", "Duration"})});
  const Decision decision = resolve({&policy, 1}, container(), {}, ResolveContext{});
  EXPECT_TRUE(decision.selected);
  ASSERT_EQ(decision.functions.size(), 1U);
  EXPECT_EQ(decision.functions[0].policy, "one");
  const std::vector<std::string> expected = {"sonde.function.calls", "sonde.function.duration"};
  EXPECT_EQ(metrics_of(decision), expected);
  EXPECT_NE(decision.probes[static_cast<std::size_t>(find_module("function"))].flags, 0);
}

TEST(DeclaredFunctions, OfOneNameAreOneAndWhatIsMeasuredIsUnited) {
  const Policy policies[] = {policy_with("a", {uprobe("f", "f", {"Calls"}), uprobe("g", "g", {"Calls"})}),
                             policy_with("b", {uprobe("f", "f", {"Duration"}), uprobe("g", "other", {"Calls"})})};
  const Decision decision = resolve(policies, container(), {}, ResolveContext{});
  ASSERT_EQ(decision.functions.size(), 2U);
  const std::vector<std::string> both = {"Calls", "Duration"};
  EXPECT_EQ(decision.functions[0].request.measure, both);
  EXPECT_EQ(decision.functions[1].request.symbol, "g") << "the first policy wins";
  ASSERT_EQ(decision.overridden.size(), 1U);
  EXPECT_EQ(decision.overridden[0], "b: function g is overridden by that of a");
}

TEST(DeclaredFunctions, OfANamespaceOnlyWhereItIsAllowed) {
  Policy policy = policy_with("one", {uprobe("f", "f", {"Calls"})});
  policy.namespace_name = "shop";
  ResolveContext context;
  Decision decision = resolve({&policy, 1}, container(), {}, context);
  EXPECT_TRUE(decision.functions.empty());
  EXPECT_FALSE(decision.selected);
  ASSERT_FALSE(decision.overridden.empty());
  EXPECT_NE(decision.overridden[0].find("tenancy.allowUserFunctions"), std::string::npos);
  context.allow_user_functions = true;
  decision = resolve({&policy, 1}, container(), {}, context);
  EXPECT_EQ(decision.functions.size(), 1U);
  policy.functions[0].type = "Kernel";
  EXPECT_TRUE(resolve({&policy, 1}, container(), {}, context).functions.empty()) << "never of the kernel";
}

TEST(DeclaredFunctions, AreRefusedBelowTheCeilingOfOptInMetrics) {
  const Policy policy = policy_with("one", {uprobe("f", "f", {"Calls"})});
  ResolveContext context;
  context.ceilings.level = Level::Standard;
  EXPECT_TRUE(resolve({&policy, 1}, container(), {}, context).functions.empty());
}

// What resolve() leaves out, refused_asks() names.
TEST(DeclaredFunctions, ThatAreRefusedAreNamed) {
  FunctionRequest kernel = uprobe("k", "vfs_read", {"Calls"});
  kernel.type = "Kernel";
  struct Row {
    const char* what;
    bool of_namespace, allowed;
    Level ceiling;
    std::vector<std::string> refused;
  };
  const Row rows[] = {
      {"cluster", false, false, Level::Detailed, {}},
      {"namespace", true, false, Level::Detailed, {"function/f NotAllowed", "function/k NotAllowed"}},
      {"namespace, allowed", true, true, Level::Detailed, {"function/k NotAllowed"}},
      {"ceiling", false, false, Level::Standard, {"function/f BeyondCeiling", "function/k BeyondCeiling"}},
  };
  for (const Row& row : rows) {
    Policy policy = policy_with("one", {uprobe("f", "f", {"Calls"}), kernel});
    if (row.of_namespace) policy.namespace_name = "shop";
    ResolveContext context;
    context.allow_user_functions = row.allowed;
    context.ceilings.level = row.ceiling;
    std::vector<std::string> refused;
    for (const RefusedAsk& ask : refused_asks(policy, context)) refused.push_back(ask.probe + " " + ask.reason);
    EXPECT_EQ(refused, row.refused) << row.what;
  }
}

TEST(DeclaredFunctions, MetricsOfTheNodeAreRefusedToANamespace) {
  Policy policy = policy_with("one", {});
  ProbeRequest probe;
  probe.name = "sched";
  probe.include_metrics = {"sonde.irq.time"};
  policy.probes = {probe};
  EXPECT_TRUE(refused_asks(policy, ResolveContext{}).empty());
  policy.namespace_name = "shop";
  const auto refused = refused_asks(policy, ResolveContext{});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].probe, "sched");
  EXPECT_NE(refused[0].message.find("sonde.irq.time"), std::string::npos);
}

}  // namespace
}  // namespace sonde
