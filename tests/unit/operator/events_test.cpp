// SPDX-License-Identifier: Apache-2.0
#include "agent/operator/events.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/operator/objects.h"

namespace sonde::operators {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

PolicyFacts policy(const std::string& name = "p") {
  PolicyFacts facts;
  facts.kind = "ClusterMonitorPolicy";
  facts.name = name;
  facts.uid = "u";
  return facts;
}

PolicyStatusDocument failing(const std::vector<std::string>& nodes, const std::string& probe = "function/f") {
  PolicyStatusDocument status;
  for (const std::string& node : nodes)
    status.failures.push_back({node, probe, "SymbolNotFound", "no such function", ""});
  return status;
}

TEST(Events, OneForAllNodesAndNothingForWhatStays) {
  EventLog log;
  log.look(policy(), failing({"n1", "n2", "n3"}), false, 100 * kSecond);
  auto sent = log.take(100 * kSecond, 7);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_TRUE(sent[0].fresh);
  EXPECT_EQ(sent[0].count, 3U);
  EXPECT_EQ(sent[0].namespace_name, "default");
  EXPECT_EQ(sent[0].note, "function/f on n1: no such function");
  log.look(policy(), failing({"n1", "n2", "n3"}), false, 101 * kSecond);
  EXPECT_TRUE(log.take(1000 * kSecond, 8).empty());
}

TEST(Events, HappeningAgainGoesOnWithTheSeriesOnceAMinute) {
  EventLog log;
  log.look(policy(), failing({"n1"}), false, 100 * kSecond);
  const auto first = log.take(100 * kSecond, 7);
  log.look(policy(), failing({"n1", "n2"}), false, 101 * kSecond);
  EXPECT_TRUE(log.take(102 * kSecond, 8).empty());
  const auto again = log.take(161 * kSecond, 9);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_FALSE(again[0].fresh);
  EXPECT_EQ(again[0].count, 2U);
  EXPECT_EQ(again[0].name, first.at(0).name);
}

TEST(Events, WhatALeaderBeforeToldIsNotToldAgain) {
  EventLog log;
  log.look(policy(), failing({"n1"}), true, 100 * kSecond);
  EXPECT_TRUE(log.take(100 * kSecond, 7).empty());
  log.look(policy(), failing({"n1", "n2"}), false, 101 * kSecond);
  EXPECT_EQ(log.take(101 * kSecond, 8).size(), 1U);
}

TEST(Events, ManyArriveOneByOneAndAreBounded) {
  EventLog log;
  for (int i = 0; i < 1200; ++i) log.look(policy("p" + std::to_string(i)), failing({"n1"}), false, 100 * kSecond);
  EXPECT_EQ(log.take(100 * kSecond, 7).size(), EventLog::kBurst);
  EXPECT_EQ(log.take(105 * kSecond, 8).size(), 1U);
  EXPECT_EQ(log.dropped(), 1200 - EventLog::kMostSeries);
}

TEST(Events, AreWhatTheApiWants) {
  EventLog log;
  log.look(policy(), failing({"n1"}), false, 0);
  const auto json = parse_json<nlohmann::json>(event_json(log.take(0, 7).at(0), "me", "2026-01-01T00:00:00.000000Z"));
  EXPECT_EQ(json["regarding"]["kind"], "ClusterMonitorPolicy");
  EXPECT_EQ(json["type"], "Warning");
  EXPECT_EQ(json["reason"], "SymbolNotFound");
  EXPECT_EQ(json["metadata"]["name"], "p.7");
}

TEST(Objects, PoliciesAreReadWithStatusAndProblems) {
  const auto facts =
      read_policy(parse_json<nlohmann::json>(R"({"apiVersion":"sonde.dev/v1alpha1","kind":"ClusterMonitorPolicy",
    "metadata":{"name":"p","uid":"u","generation":4,"managedFields":[{"manager":"x"}]},
    "spec":{"mode":"Monitor","nodeSelector":{"matchLabels":{"disk":"ssd"}}},
    "status":{"observedGeneration":3,"desiredNodes":2,"conditions":[{"type":"Ready","status":"True","reason":"Applied",
      "observedGeneration":3,"lastTransitionTime":"2026-01-01T00:00:00Z"}]}})"));
  ASSERT_TRUE(facts);
  EXPECT_TRUE(facts->problems.empty()) << facts->problems.front();
  EXPECT_EQ(facts->generation, 4);
  EXPECT_TRUE(facts->node_selector && facts->node_selector->matches({{"disk", "ssd"}}));
  EXPECT_TRUE(facts->status.is("Ready"));
  EXPECT_FALSE(
      read_policy(parse_json<nlohmann::json>(R"({"metadata":{"name":"p"},"spec":{"zzz":1}})"))->problems.empty());
  EXPECT_FALSE(read_policy(parse_json<nlohmann::json>("7")));
}

}  // namespace
}  // namespace sonde::operators
