// SPDX-License-Identifier: Apache-2.0
// A program that the kernel refuses takes nothing else with it, and the status names it.
#include "tests/kernel/support/agent_test.h"

namespace sonde::test {
namespace {

constexpr int64_t kBlock = 4096;

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
  EXPECT_EQ(broken(), std::vector<std::string>{"sched"});
  EXPECT_NE(module_of(status(), "sched")["reasons"].dump().find(break_program_), std::string::npos)
      << module_of(status(), "sched")["reasons"];
}

TEST_F(AgentFaultsTest, WithoutIoSchedGoesOn) {
  break_program_ = "io_sys_enter";
  const Cgroup& box = cgroup("box");
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: Standard");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(12 * kBlock); usleep(1000); });
  EXPECT_EQ(module_of(status(), "sched")["health"], "ok");
  EXPECT_NE(module_of(status(), "io")["health"], "ok");
  EXPECT_NE(module_of(status(), "io").dump().find("io_sys_enter"), std::string::npos);
  EXPECT_EQ(bytes_read(box), 0);
}

TEST_F(AgentFaultsTest, WhereNothingIsBrokenTheStatusNamesNothing) {
  policy("mine", io_of("/sonde-agent-*"));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(broken(), std::vector<std::string>());
}

}  // namespace
}  // namespace sonde::test
