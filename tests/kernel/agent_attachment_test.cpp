// SPDX-License-Identifier: Apache-2.0
// Links that another process detaches from a running agent: status and metrics report it.
#include <bpf/bpf.h>

#include <algorithm>

#include "agent/base/json.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/held_objects.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("AgentAttachmentTest.*", Trait::PodView);

class AgentAttachmentTest : public AgentTest {
 protected:
  AgentAttachmentTest() { only_ = "network"; }
  nlohmann::json network() const {
    nlohmann::json modules = status()["modules"];
    const auto found = std::ranges::find_if(modules, [](const auto& module) { return module["name"] == "network"; });
    return found == modules.end() ? nlohmann::json::object() : *found;
  }
  static nlohmann::json program(const nlohmann::json& module, const std::string& name) {
    for (const auto& program : module.value("programs", nlohmann::json::array())) {
      if (program["name"] == name) return program;
    }
    return {{"state", "unknown"}};
  }
  static bool says(const nlohmann::json& module, const std::string& words) {
    return std::ranges::any_of(module["reasons"], [&](const auto& reason) {
      return reason.template get<std::string>().find(words) != std::string::npos;
    });
  }
  bool is_in(const std::string& state) const {
    return shown("", "sonde.module.state", {"sonde.module=network", "sonde.state=" + state}).value == 1;
  }
};

TEST_F(AgentAttachmentTest, ALinkThatIsDetachedAgainAndAgainIsReportedAsDown) {
  const Cgroup& box = cgroup("box");
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: None\n  probes: [{name: network, level: Standard}]");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return program(network(), "network_packet_out")["state"] == "attached"; })) << network();
  const nlohmann::json before = network();
  ASSERT_FALSE(says(before, "network_packet_out"));
  const std::string usual = before["health"] == "ok" ? "running" : "degraded";
  ASSERT_TRUE(await([&] { return is_in(usual); }));

  nlohmann::json down;
  EXPECT_TRUE(await([&] {
    for (const Fd& link : cgroup_links()) bpf_link_detach(link.get());
    down = network();
    return program(down, "network_packet_out")["state"] == "failed";
  })) << down;
  EXPECT_EQ(down["health"], "degraded");
  const nlohmann::json out = program(down, "network_packet_out");
  EXPECT_EQ(out.value("reason", "").find("another process detached it"), 0U) << out;
  EXPECT_GE(out.value("times_lost", 0), 2);
  EXPECT_TRUE(says(down, "transmitted UDP is not measured")) << down;
  EXPECT_TRUE(await([&] { return is_in("degraded") && !is_in("running"); }));

  EXPECT_TRUE(await([&] { return program(network(), "network_packet_out")["state"] == "attached"; })) << network();
  EXPECT_EQ(network()["health"], "degraded") << "what happened in between was not counted";
  stop();
  std::string last;  // state of the probe, as written
  for (const Written& point : written()) {
    if (point.metric != "sonde.module.state" || point.attributes.find("sonde.module=network") == std::string::npos)
      continue;
    if (!point.ended && point.value == 1) last = point.attributes;
  }
  EXPECT_NE(last.find("sonde.state=degraded"), std::string::npos) << last;
}

}  // namespace
}  // namespace sonde::test
