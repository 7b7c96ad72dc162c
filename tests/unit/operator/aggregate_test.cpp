// SPDX-License-Identifier: Apache-2.0
#include "agent/operator/aggregate.h"

#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/operator/objects.h"

namespace sonde::operators {
namespace {

constexpr const char* kNow = "2026-02-01T00:00:00Z";
constexpr const char* kBefore = "2026-01-01T00:00:00Z";

// Policy "p" of generation 3; nodes are added one by one.
struct Case {
  PolicyFacts facts;
  Evidence evidence;
  std::deque<kube::PolicyEntry> entries;
  std::deque<std::string> names;

  explicit Case(uint32_t nodes) {
    facts.kind = "ClusterMonitorPolicy";
    facts.name = "p";
    facts.generation = 3;
    evidence.nodes = nodes;
  }
  kube::PolicyEntry& node(const std::string& name, int64_t generation = 3, const std::string& state = "Applied") {
    entries.push_back({"", "p", generation, state, 2});
    names.push_back(name);
    evidence.reported.push_back({names.back(), &entries.back()});
    return entries.back();
  }
  PolicyStatusDocument run() const { return aggregate(facts, evidence, kNow); }
};

std::string ready(const PolicyStatusDocument& status) {
  const Condition* condition = status.find("Ready");
  if (!condition) return "none";
  return (condition->unknown ? "Unknown " : condition->value ? "True " : "False ") + condition->reason;
}

TEST(Aggregate, CountsNodes) {
  struct Row {
    const char* what;
    uint32_t nodes, without_room;
    bool patience_over;
    std::vector<int64_t> generations;
    uint32_t desired, applied, outdated;
    const char* ready;
    bool degraded;
  };
  const Row rows[] = {
      {"all have it", 2, 0, false, {3, 3}, 2, 2, 0, "True Applied", false},
      {"one has an earlier generation", 2, 0, false, {3, 2}, 2, 1, 1, "False Progressing", false},
      {"one has told nothing", 3, 0, false, {3, 3}, 3, 2, 1, "False Progressing", false},
      {"one does not answer for long", 3, 0, true, {3, 3}, 3, 2, 1, "True Applied", true},
      {"nobody has it for long", 2, 0, true, {2, 2}, 2, 0, 2, "False Progressing", true},
      {"one had no room to tell", 3, 1, false, {3, 3}, 3, 2, 0, "True Applied", false},
      {"none had room to tell", 2, 2, true, {}, 2, 0, 0, "Unknown NotReported", false},
      {"no node yet", 0, 0, false, {}, 0, 0, 0, "False Waiting", false},
      {"no node at all", 0, 0, true, {}, 0, 0, 0, "True NothingSelected", false},
      {"a node is ahead of us", 1, 0, false, {4}, 1, 1, 0, "True Applied", false},
  };
  for (const Row& row : rows) {
    Case given(row.nodes);
    given.evidence.without_room = row.without_room;
    given.evidence.patience_over = row.patience_over;
    for (std::size_t i = 0; i < row.generations.size(); ++i) given.node("n" + std::to_string(i), row.generations[i]);
    const PolicyStatusDocument status = given.run();
    EXPECT_EQ(status.desired, row.desired) << row.what;
    EXPECT_EQ(status.applied, row.applied) << row.what;
    EXPECT_EQ(status.outdated, row.outdated) << row.what;
    EXPECT_EQ(ready(status), row.ready) << row.what;
    EXPECT_EQ(status.is("Degraded"), row.degraded) << row.what;
    EXPECT_EQ(status.matched, 2 * row.generations.size()) << row.what;
    EXPECT_EQ(status.conditions.size(), 7U) << row.what;
    EXPECT_EQ(status.observed_generation, 3) << row.what;
  }
}

TEST(Aggregate, OfANamespaceIsDesiredWhereItSelectsSomething) {
  Case given(100);
  given.facts.namespace_name = "shop";
  given.node("n1");
  const PolicyStatusDocument status = given.run();
  EXPECT_EQ(status.desired, 1U);
  EXPECT_EQ(ready(status), "True Applied");
}

TEST(Aggregate, WhatIsNotReportedIsNeitherFailedNorNothing) {
  Case given(0);
  given.facts.kind = "MonitorPolicy";
  given.facts.namespace_name = "shop";
  given.evidence.without_room = 1;
  for (const bool over : {false, true}) {
    given.evidence.patience_over = over;
    EXPECT_EQ(ready(given.run()), "Unknown NotReported");
  }
  Case failing(2);  // one says that it fails, the other says nothing
  failing.evidence.without_room = 1;
  failing.node("a", 3, "Failed").failures = {{"io", "ProbeFailed", "no"}};
  EXPECT_EQ(ready(failing.run()), "Unknown NotReported");
  EXPECT_TRUE(failing.run().is("Degraded"));
}

TEST(Aggregate, UnknownIsWrittenAndRead) {
  Case given(1);
  given.evidence.without_room = 1;
  const PolicyStatusDocument status = given.run();
  nlohmann::json object{{"metadata", {{"name", "p"}, {"generation", 3}}}, {"kind", "ClusterMonitorPolicy"}};
  object["status"] = parse_json<nlohmann::json>(status_patch(status))["status"];
  EXPECT_EQ(read_policy(object)->status, status);
}

TEST(Aggregate, OneFailingNodeDegradesAndStaysReady) {
  Case given(2);
  given.node("n2", 3, "Degraded").failures = {{"function/f", "SymbolNotFound", "no such function"}};
  given.node("n1");
  const PolicyStatusDocument status = given.run();
  EXPECT_EQ(ready(status), "True Applied");
  EXPECT_EQ(status.failed, 1U);
  EXPECT_EQ(status.applied, 2U);
  ASSERT_TRUE(status.is("Degraded"));
  EXPECT_EQ(status.find("Degraded")->reason, "SymbolNotFound");
  EXPECT_EQ(status.find("Degraded")->message, "function/f on n2: no such function");
  ASSERT_EQ(status.failures.size(), 1U);
  EXPECT_EQ(status.failures[0], (StatusFailure{"n2", "function/f", "SymbolNotFound", "no such function", kNow}));
}

TEST(Aggregate, FailingEverywhereIsNotReady) {
  Case given(1);
  given.node("n1", 3, "Failed").failures = {{"policy", "NotUnderstood", "a newer field"}};
  EXPECT_EQ(ready(given.run()), "False Failed");
}

TEST(Aggregate, NamesTheMostFrequentReasonAndTheFirstTenFailuresByNode) {
  Case given(15);
  for (int i = 0; i < 15; ++i) {
    const bool rare = i < 3;
    given.node("n" + std::to_string(100 - i), 3, "Degraded").failures = {
        {"function/f", rare ? "FileNotFound" : "SymbolNotFound", "m"}, {"function/f", "Twice", "the same probe"}};
  }
  const PolicyStatusDocument status = given.run();
  ASSERT_EQ(status.failures.size(), kMostFailures);
  EXPECT_EQ(status.failures.front().node, "n100");
  EXPECT_EQ(status.failures[1].node, "n86");
  EXPECT_EQ(status.failed, 15U);
  EXPECT_EQ(status.find("Degraded")->reason, "Twice");
}

TEST(Aggregate, TellsWhatGaveWay) {
  Case given(2);
  given.node("n1");
  auto& entry = given.node("n2");
  entry.conditions = {"Overridden", "SeriesLimited"};
  entry.message = "periodSeconds 60 is overridden by 10 of other";
  const PolicyStatusDocument status = given.run();
  EXPECT_TRUE(status.is("SeriesLimited"));
  EXPECT_FALSE(status.is("OverBudget"));
  ASSERT_TRUE(status.is("Overridden"));
  EXPECT_EQ(status.find("Overridden")->message, "on 1 node (n2): periodSeconds 60 is overridden by 10 of other");
  EXPECT_EQ(ready(status), "True Applied");
}

TEST(Aggregate, KeepsTheTimeOfWhatStaysAndRenewsThatOfWhatChanges) {
  Case given(1);
  given.node("n1", 3, "Degraded").failures = {{"io", "ProbeFailed", "m"}};
  given.facts.status.conditions = {{"Ready", true, "Applied", "", 3, kBefore},
                                   {"Degraded", false, "NoFailures", "", 3, kBefore}};
  given.facts.status.failures = {{"n1", "io", "ProbeFailed", "another message", kBefore}};
  const PolicyStatusDocument status = given.run();
  EXPECT_EQ(status.find("Ready")->since, kBefore);
  EXPECT_EQ(status.find("Degraded")->since, kNow);
  EXPECT_EQ(status.failures.at(0).since, kBefore);
}

TEST(Aggregate, ANodeThatJoinsDoesNotTakeReadyBack) {
  Case given(2);
  given.node("n1");
  given.facts.status.conditions = {{"Ready", true, "Applied", "", 3, kBefore}};
  EXPECT_EQ(ready(given.run()), "True Applied");
  given.facts.status.conditions[0].generation = 2;
  EXPECT_EQ(ready(given.run()), "False Progressing") << "it was said of another generation";
}

TEST(Aggregate, WhatCannotBeUnderstoodIsNotAccepted) {
  Case given(1);
  given.facts.problems = {"spec has no field 'zzz'"};
  const PolicyStatusDocument status = given.run();
  EXPECT_FALSE(status.is("Accepted"));
  EXPECT_EQ(status.find("Accepted")->message, "spec has no field 'zzz'");
  EXPECT_EQ(ready(status), "False NotUnderstood");
}

TEST(Aggregate, PatchHasEveryFieldSoThatNothingOldStays) {
  const auto json = parse_json<nlohmann::json>(status_patch(Case(0).run()));
  for (const char* key : {"observedGeneration", "desiredNodes", "appliedNodes", "failedNodes", "outdatedNodes",
                          "matchedContainers", "conditions", "failures"}) {
    EXPECT_TRUE(json["status"].contains(key)) << key;
  }
  for (const auto& condition : json["status"]["conditions"])
    EXPECT_FALSE(condition["reason"].get<std::string>().empty());
}

}  // namespace
}  // namespace sonde::operators
