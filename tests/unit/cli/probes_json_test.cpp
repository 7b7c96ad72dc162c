// SPDX-License-Identifier: Apache-2.0
// `sonde probes -o json` has the form that docs/ops/probes.schema.json publishes, with and without a running agent.
#include "agent/cli/probes_json.h"

#include <gtest/gtest.h>
#include <linux/capability.h>

#include <fstream>
#include <sstream>

#include "agent/base/json.h"
#include "agent/cli/checks.h"
#include "agent/module/catalogue.h"
#include "tests/support/json_schema.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> violations(const Json& probes) {
  std::vector<std::string> wrong;
  test::validate_json(test::published_schema("probes"), parse_json<nlohmann::json>(json_text(probes)), "probes", wrong);
  return wrong;
}

// As /statusz has them.
Json running() {
  return parse_json<Json>(R"([
    {"name": "io", "health": "ok", "alternative": "tracepoints", "reasons": [], "mean_ns": 61.5, "runs_per_second": 1200.0,
     "programs": [{"name": "io_sys_enter", "hook": "tp_btf/sys_enter", "state": "attached"}]},
    {"name": "network", "health": "degraded", "reasons": ["network_packet_out: no"],
     "programs": [{"name": "network_packet_out", "hook": "cgroup_skb/egress", "state": "failed", "reason": "no", "gap": "g"}]},
    {"name": "core", "health": "ok", "reasons": [], "programs": []}])");
}

const Json& probe(const Json& probes, const std::string& name) {
  for (const Json& one : probes) {
    if (one["module"] == name) return one;
  }
  static const Json kNone;
  return kNone;
}

TEST(ProbesJson, HasThePublishedForm) {
  EXPECT_EQ(violations(probes_json(Json::array())), std::vector<std::string>());
  EXPECT_EQ(violations(probes_json(running())), std::vector<std::string>());
  Json wrong = probes_json(Json::array());
  wrong[0].erase("mean_ns");
  wrong[1]["state"] = "splendid";
  wrong[2]["metrics"][0]["unit"] = 7;
  wrong[3]["more"] = 1;
  EXPECT_EQ(violations(wrong).size(), 4U) << "the test can fail";
}

TEST(ProbesJson, SaysWhatTheAgentSaysAndNothingWithoutOne) {
  const Json without = probes_json(Json::array());
  ASSERT_EQ(without.size(), modules().size());
  for (const Json& one : without) {
    EXPECT_EQ(one["state"], "unknown");
    EXPECT_TRUE(one["mean_ns"].is_null());
    for (const Json& hook : one["hooks"]) EXPECT_TRUE(hook["state"].is_null() && hook["in_use"].is_null());
  }
  const Json with = probes_json(running());
  const Json& io = probe(with, "io");
  EXPECT_EQ(io["state"], "ok");
  EXPECT_EQ(io["alternative"], "tracepoints");
  EXPECT_EQ(io["mean_ns"], 61.5);
  EXPECT_GT(io["alternatives"].size(), 1U);
  int in_use = 0;
  for (const Json& hook : io["hooks"]) in_use += hook["in_use"] == true;
  EXPECT_EQ(in_use, 1);
  const Json& network = probe(with, "network");
  EXPECT_EQ(network["state"], "degraded");
  EXPECT_TRUE(network["mean_ns"].is_null()) << "not sampled yet";
  EXPECT_EQ(probe(with, "sched")["state"], "unknown");
}

TEST(ProbesJson, NamesEveryMetricOfTheDocument) {
  const std::string document = metrics_markdown();
  for (const Json& one : probes_json(Json::array())) {
    for (const Json& metric : one["metrics"]) {
      EXPECT_NE(document.find("`" + metric["name"].get<std::string>() + "`"), std::string::npos) << metric["name"];
    }
  }
  const Json probes = probes_json(Json::array());
  const Json& direction = probe(probes, "io")["metrics"][0]["attributes"][0];
  EXPECT_EQ(direction["key"], "disk.io.direction");
  EXPECT_EQ(direction["values"], (Json{"read", "write"}));
}

TEST(Capabilities, AreThoseThatTheProbeNames) {
  const ModuleInfo* network = nullptr;
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    if (info.name == "network") network = &info;
    const auto names = capabilities_of(info);
    for (const char* always : {"BPF", "PERFMON"}) EXPECT_NE(std::ranges::find(names, always), names.end()) << info.name;
    EXPECT_EQ(missing_capabilities(info, ~0ULL), std::vector<std::string>())
        << info.name << " names one that is not known";
    // Who reads about a probe finds them too.
    std::stringstream readme;
    readme
        << std::ifstream(std::string(SONDE_SOURCE_DIR "/bpf/modules/") + std::string(info.name) + "/README.md").rdbuf();
    for (const std::string& name : names) {
      EXPECT_NE(readme.str().find("CAP_" + name), std::string::npos)
          << info.name << "/README.md does not name " << name;
    }
  }
  ASSERT_NE(network, nullptr);
  const uint64_t bpf_only = 1ULL << CAP_BPF | 1ULL << CAP_PERFMON;
  EXPECT_EQ(missing_capabilities(*network, bpf_only), std::vector<std::string>{"NET_ADMIN"});
  EXPECT_EQ(missing_capabilities(*network, 1ULL << CAP_SYS_ADMIN), std::vector<std::string>{"NET_ADMIN"});
  EXPECT_EQ(missing_capabilities(*network, 1ULL << CAP_NET_ADMIN), (std::vector<std::string>{"BPF", "PERFMON"}));
}

}  // namespace
}  // namespace sonde::cli
