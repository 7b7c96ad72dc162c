// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/node_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/base/json.h"

namespace sonde::kube {
namespace {

NodeReport usual() {
  NodeReport report;
  report.agent_version = "0.1.0";
  report.kernel = "6.12.0";
  report.lockdown = "none";
  report.identity_source = "apiServer";
  report.btf = true;
  report.probes_ok = 9;
  report.probes_degraded = 1;
  report.series = 812;
  report.containers = 31;
  report.conditions = {{"MapsNearlyFull", true, "EightyPercentReached", "sonde_subjects of core: raise limits.subjects",
                        "2026-01-01T00:00:00Z"}};
  report.probes = {{"io", "Degraded", "HooksMissing", "fentry is refused"}};
  PolicyEntry policy{
      "", "databases", 3, "Degraded", 4, {"Degraded", "Overridden"}, "periodSeconds 60 is overridden by 10 of all"};
  policy.failures = {{"function/wal", "SymbolNotFound", "no function of this name"}};
  report.policies = {policy, {"shop", "mine", 1, "Applied", 2}};
  return report;
}

std::string object(const std::string& node, const std::string& status) {
  return R"({"metadata":{"name":")" + node + R"("},"status":)" + status + "}";
}

TEST(NodeReport, IsReadAsItWasWritten) {
  const auto read = node_report_of(parse_json<nlohmann::json>(object("n1", status_json(usual()))));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->node, "n1");
  EXPECT_EQ(read->report, usual());
}

TEST(NodeReport, LosesMessagesBeforeAnythingElse) {
  NodeReport report = usual();
  for (int i = 0; i < 8; ++i) {
    PolicyEntry policy{"", "policy-" + std::to_string(i), 1, "Degraded", 1, {"Degraded"}};
    policy.failures.assign(4, {"function/f", "SymbolNotFound", std::string(400, 'm')});
    report.policies.push_back(policy);
  }
  const std::string text = status_json(report);
  EXPECT_LE(text.size(), room_for(10));
  const auto read = node_report_of(parse_json<nlohmann::json>(object("n1", text)));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->report.policies.size(), report.policies.size());
  EXPECT_EQ(read->report.omitted_policies, 0U);
  EXPECT_EQ(read->report.policies.back().failures.at(0).reason, "SymbolNotFound");
}

// States, counts and reasons of 150 policies, of which a third fails; names as people give them, and long ones.
TEST(NodeReport, HasRoomForAllPoliciesOfANode) {
  for (const std::size_t letters : {20, 80}) {
    NodeReport report = usual();
    report.policies.clear();
    for (uint32_t i = 0; i < 150; ++i) {
      std::string name = "policy-" + std::to_string(i) + "-";
      name.resize(letters, 'x');
      PolicyEntry policy{"team-" + std::to_string(i % 10), std::move(name), 7 + i, "Applied", i};
      if (i % 3 == 0) {
        policy.state = "Degraded";
        policy.conditions = {"Degraded", "Overridden"};
        policy.message = std::string(200, 'm');
        policy.failures.assign(4, {"function/f" + std::to_string(i), "SymbolNotFound", std::string(200, 'm')});
      }
      report.policies.push_back(std::move(policy));
    }
    const std::string text = status_json(report);
    EXPECT_LE(text.size(), room_for(150));
    const auto read = node_report_of(parse_json<nlohmann::json>(object("n1", text)));
    ASSERT_TRUE(read);
    ASSERT_EQ(read->report.policies.size(), 150U);
    EXPECT_EQ(read->report.omitted_policies, 0U);
    for (uint32_t i = 0; i < 150; ++i) {
      const PolicyEntry& policy = read->report.policies[i];
      EXPECT_EQ(policy.name, report.policies[i].name);
      EXPECT_EQ(policy.generation, 7 + i);
      EXPECT_EQ(policy.matched, i);
      EXPECT_EQ(policy.state, i % 3 ? "Applied" : "Degraded");
      EXPECT_EQ(policy.conditions, report.policies[i].conditions);
      ASSERT_EQ(policy.failures.empty(), i % 3 != 0);
      if (!policy.failures.empty()) {
        EXPECT_EQ(policy.failures[0].reason, "SymbolNotFound");
      }
    }
  }
}

TEST(NodeReport, NeverHasMoreThanItMayWhateverItIsGiven) {
  NodeReport report = usual();
  report.conditions[0].message = std::string(1000, 'c');
  for (int i = 0; i < 1000; ++i) {
    PolicyEntry policy{std::string(63, 'n'), std::string(253, 'p'), 1'000'000, "Degraded", 1'000'000, {"Degraded"}};
    const PolicyFailure failure{std::string(300, 'f'), std::string(300, 'r'), "\xff\xfe" + std::string(9, 'm')};
    policy.failures.assign(40, failure);
    report.policies.push_back(policy);
    report.probes.push_back({"probe" + std::to_string(i), "Failed", "LoadFailed", std::string(1000, 'x')});
  }
  const std::string text = status_json(report);
  EXPECT_LE(text.size(), kMostReportBytes);
  const auto read = node_report_of(parse_json<nlohmann::json>(object("n1", text)));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->report.policies.size() + read->report.omitted_policies, report.policies.size());
  EXPECT_EQ(read->report.policies.at(0).name, "databases");
  EXPECT_TRUE(read->report.conditions.at(0).value);
}

TEST(NodeReport, OfAStrangeObjectIsEmptyAndOfANamelessOneNone) {
  for (const char* status : {"null", "7", "[]", R"({"policies":{"a":1},"probes":7,"btf":"yes","series":-4})",
                             R"({"conditions":{"type":1}})", R"({"conditions":["full",{"status":true}]})",
                             R"({"policies":[7,{"name":7,"failures":"x","conditions":[1]}]})"}) {
    EXPECT_TRUE(node_report_of(parse_json<nlohmann::json>(object("n1", status)))) << status;
  }
  EXPECT_FALSE(node_report_of(parse_json<nlohmann::json>("{}")));
  EXPECT_FALSE(node_report_of(parse_json<nlohmann::json>("not JSON")));
}

TEST(NodeReport, CountsAreNoNews) {
  NodeReport a = usual(), b = usual();
  b.series = 5000;
  b.containers = 1;
  b.policies[0].matched = 9;
  EXPECT_TRUE(same_substance(a, b));
  b.policies[0].matched = 0;
  EXPECT_FALSE(same_substance(a, b));
  b = usual();
  b.conditions[0].value = false;
  EXPECT_FALSE(same_substance(a, b));
  b = usual();
  b.policies[0].generation = 4;
  EXPECT_FALSE(same_substance(a, b));
}

}  // namespace
}  // namespace sonde::kube
