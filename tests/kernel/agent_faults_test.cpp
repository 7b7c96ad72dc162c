// SPDX-License-Identifier: Apache-2.0
// A program that the kernel refuses takes nothing else with it, and the status names it.
#include <atomic>
#include <set>

#include "agent/base/json.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs the agent, and each test loads all probes.
SONDE_TRAITS("AgentFaultsTest.*", Trait::HostOnly);

nlohmann::json module_of(const nlohmann::json& status, const std::string& name) {
  for (const auto& module : status["modules"])
    if (module["name"] == name) return module;
  return {};
}

class AgentFaultsTest : public AgentTest {
 protected:
  // Names of modules that do not work.
  std::vector<std::string> broken() const {
    std::vector<std::string> names;
    const auto all = status();
    for (const auto& module : all["modules"])
      if (module["health"] != "ok") names.push_back(module["name"]);
    return names;
  }
  // Those that this kernel itself does not give everything: no hardware counters, no fentry.
  static std::set<std::string> lacking() {
    std::set<std::string> names;
    auto engine = Engine::start({});
    EXPECT_TRUE(engine);
    for (const ModuleReport& module : (*engine)->modules())
      if (module.health != ModuleHealth::Ok) names.insert(module.name);
    return names;
  }
};

TEST_F(AgentFaultsTest, WithoutSchedIoGoesOnAndTheStatusSaysWhy) {
  const ModuleInfo& sched = modules()[static_cast<std::size_t>(find_module("sched"))].module->info();
  break_program_ = std::string(sched.programs.front().program);
  const Cgroup& box = cgroup("box");
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: Standard");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(12 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(box) == 12 * kBlock; })) << bytes_read(box);
  auto expected = lacking();
  expected.insert("sched");
  EXPECT_EQ(broken(), std::vector<std::string>(expected.begin(), expected.end()));
  EXPECT_NE(json_text(module_of(status(), "sched")["reasons"]).find(break_program_), std::string::npos)
      << module_of(status(), "sched")["reasons"];
}

TEST_F(AgentFaultsTest, WithoutIoSchedGoesOn) {
  break_program_ = "io_sys_enter";
  const Cgroup& box = cgroup("box");
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: Standard");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] {
    read_bytes(12 * kBlock);
    usleep(1000);
  });
  EXPECT_EQ(module_of(status(), "sched")["health"], "ok");
  EXPECT_NE(module_of(status(), "io")["health"], "ok");
  EXPECT_NE(json_text(module_of(status(), "io")).find("io_sys_enter"), std::string::npos);
  EXPECT_EQ(bytes_read(box), 0);
}

TEST_F(AgentFaultsTest, WhereNothingIsBrokenTheStatusNamesNothing) {
  policy("mine", io_of("/sonde-agent-*"));
  ASSERT_NO_FATAL_FAILURE(start());
  const auto expected = lacking();
  EXPECT_EQ(broken(), std::vector<std::string>(expected.begin(), expected.end()));
}

// It is switched off with a reason, the other probe goes on, and it comes back by itself. What it counted while it was
// on is not lost.
TEST_F(AgentFaultsTest, AProbeWhoseCollectionKeepsFailingIsOffUntilItWorksAgain) {
  std::atomic<bool> failing{false};
  fault_ = [&](std::string_view module) { return failing && module == "sched" ? "injected" : ""; };
  const Cgroup& box = cgroup("box");
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: Standard");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  const auto sched = [&] { return module_of(status(), "sched"); };
  const auto attached = [&] {
    const auto module = sched();
    for (const auto& program : module["programs"])
      if (program["state"] == "attached") return true;
    return false;
  };
  ASSERT_TRUE(await(attached));
  EXPECT_EQ(sched()["collection_failures"], 0);
  failing = true;
  ASSERT_TRUE(await([&] { return !attached(); })) << json_text(sched(), 1);
  EXPECT_GE(sched()["collection_failures"].get<int>(), 3);
  EXPECT_NE(json_text(sched()["failing"]).find("switched off for"), std::string::npos) << json_text(sched()["failing"]);
  EXPECT_NE(json_text(sched()["failing"]).find("injected"), std::string::npos);
  box.run([] { read_bytes(12 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(box) == 12 * kBlock; })) << bytes_read(box);
  failing = false;
  ASSERT_TRUE(await(attached)) << json_text(sched(), 1);
  EXPECT_TRUE(await([&] { return !sched().contains("failing"); })) << json_text(sched()["failing"]);
}

}  // namespace
}  // namespace sonde::test
