// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/status_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "tests/support/json_schema.h"

namespace sonde {
namespace {

using Json = nlohmann::json;

// With something in every part.
Status full_status() {
  Status status;
  status.started_ns = 5'000'000'000;
  status.made_ns = 7'500'000'000;
  status.cgroup_root = "/sys/fs/cgroup";
  status.how_measured = {.fentry = true, .preemptible = false, .read_only_cast = true};
  status.subjects = {.known = 9, .selected = 4, .slots_used = 5, .slots_capacity = 1024, .without_slot = 1};
  status.warnings = {"a map is nearly full"};
  Status::Module io;
  io.report = {"io", ModuleHealth::Degraded, "fentry", {"no fsync"}, {}};
  io.report.programs = {{"io_read", "fentry/vfs_read", ProgramState::Attached, "", "", 0},
                        {"io_sync", "fentry/vfs_fsync", ProgramState::Failed, "refused", "no fsync", 2}};
  io.losses = {{"no_row", 3}};
  io.use = ModuleUse{.runs_per_second = 10, .ns_per_second = 2000, .mean_ns = 200, .runs = 100, .run_ns = 20'000};
  io.restriction = {OverheadStep::Sampled, "over budget", 2, "cannot be read"};
  status.modules = {io, {.report = {.name = "core"}}};
  Status::PolicyState policy;
  policy.status = {"shop/web", "file", Mode::Monitor, false, 3, 2, {"excluded by p"}};
  policy.conditions = {"Degraded"};
  policy.troubles = {{"function/flush", "FileNotFound", "no such file", 2, 1}};
  policy.functions = {{"shop/web", "flush", Refusal::None, "", "uprobe", 1, 2}};
  status.policies = {policy};
  status.policy_errors = {"p.yaml:1:1: no"};
  status.overridden = {"a sentence"};
  status.pipeline.series = 77;
  status.collection = {.slots_read = 4, .series_moved = 6, .duration_ns = 1'500'000'000};
  status.spans = {.recorded = 5, .suppressed = 40, .unknown_owner = 1};
  Outputs::Report otlp;
  otlp.stats.exporter = "otlp";
  otlp.stats.failures = {{"unavailable", 2}};
  otlp.destination = "http://localhost:4317";
  status.exporters = {otlp};
  status.export_errors = {"otlp: no answer"};
  status.cost = {12.5, 200, true};
  status.names = {"kubelet", true, 8, 7'000'000'000, {{"kubelet", kube::SourceState::Working, true, "", 1}}};
  kube::ReflectorStats node;
  node.synced = true;
  node.fresh_ns = 6'500'000'000;
  node.last_error = "no answer";
  status.kubernetes = {false, {{"node", node}}, kube::ReportWriterStats{.writes = 2, .last_error = "409"}};
  return status;
}

TEST(StatusJson, HasThePublishedForm) {
  std::vector<std::string> wrong;
  test::validate_json(test::published_schema("status"), parse_json<Json>(status_json(full_status())), "status", wrong);
  EXPECT_EQ(wrong, std::vector<std::string>());
}

TEST(StatusJson, SaysWhatTheStatusHolds) {
  const Json json = parse_json<Json>(status_json(full_status()));
  EXPECT_EQ(json["uptime_seconds"], 2.5);
  EXPECT_FALSE(json.contains("idle"));
  EXPECT_EQ(json["features"]["fentry"], true);
  EXPECT_EQ(json["subjects"]["without_slot"], 1);
  const Json& io = json["modules"][0];
  EXPECT_EQ(io["health"], "degraded");
  EXPECT_EQ(io["losses"], Json({{"no_row", 3}}));
  EXPECT_EQ(io["step"], "histograms sampled");
  EXPECT_EQ(io["failing"], "cannot be read");
  EXPECT_EQ(io["programs"][1]["times_lost"], 2);
  EXPECT_FALSE(io["programs"][0].contains("reason"));
  EXPECT_FALSE(json["modules"][1].contains("step")) << "the core is never throttled";
  EXPECT_EQ(json["pipeline"]["series"], 77);
  EXPECT_EQ(json["collection"]["duration_seconds"], 1.5);
  EXPECT_EQ(json["spans"]["recorded"], 5);
  EXPECT_EQ(json["spans"]["suppressed"], 40);
  EXPECT_EQ(json["spans"]["lost"], Json({{"buffer_full", 0}, {"unknown_owner", 1}, {"malformed", 0}}));
  EXPECT_EQ(json["exporters"][0]["failures"]["unavailable"], 2);
  EXPECT_EQ(json["identity"]["age_seconds"], 0.5);
  EXPECT_EQ(json["identity"]["sources"][0]["state"], "working");
  EXPECT_EQ(json["kubernetes"]["followed"][0]["age_seconds"], 1.0);
  EXPECT_EQ(json["kubernetes"]["node_status"]["error"], "409");
}

TEST(StatusJson, PoliciesAreTheSameByThemselves) {
  const Status status = full_status();
  const Json policies = parse_json<Json>(policies_json(status));
  EXPECT_EQ(policies, parse_json<Json>(status_json(status))["policies"]);
  EXPECT_EQ(policies[0]["failures"][0]["containers"], 2);
  EXPECT_EQ(policies[0]["functions"][0]["attached"], 1);
}

TEST(StatusJson, WhatIsNotKnownIsLeftOut) {
  Status status;
  status.idle = Obstacle{"NoBtf", "a sentence"};
  const Json json = parse_json<Json>(status_json(status));
  EXPECT_EQ(json["idle"]["reason"], "NoBtf");
  EXPECT_EQ(json["features"], Json::object());
  EXPECT_FALSE(json["identity"].contains("age_seconds"));
  EXPECT_FALSE(json.contains("kubernetes"));
}

}  // namespace
}  // namespace sonde
