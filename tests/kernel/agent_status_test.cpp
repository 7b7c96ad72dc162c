// SPDX-License-Identifier: Apache-2.0
// /statusz has the form that docs/ops/status.schema.json publishes: no field is missing, none is there that it does not name.
#include <algorithm>

#include "agent/base/json.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"
#include "tests/support/json_schema.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs the agent, and each test loads all probes.
SONDE_TRAITS("AgentStatusTest.*", Trait::HostOnly);

using Json = nlohmann::json;

std::vector<std::string> violations(const Json& status) {
  std::vector<std::string> wrong;
  validate_json(published_schema("status"), status, "status", wrong);
  return wrong;
}

class AgentStatusTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    if (!published_schema("status").is_object()) GTEST_SKIP() << "the source tree is not here";
  }
};

TEST_F(AgentStatusTest, HasThePublishedForm) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  policy("ends", io_of(box.path() + "/none", "activeForSeconds: 1"));
  policy_text("broken", "kind: nothing\n");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(4096); });
  ASSERT_TRUE(await([&] { return bytes_read(box) == 4096; }));
  ASSERT_TRUE(await([&] { return !status()["policies"].empty() && !status()["policy_errors"].empty(); }));
  EXPECT_EQ(violations(status()), std::vector<std::string>());
}

TEST_F(AgentStatusTest, HasItWithABrokenProgramToo) {
  break_program_ = "io_sys_enter";
  policy("mine", io_of("/sonde-agent-*"));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return json_text(status()).find("io_sys_enter") != std::string::npos; }));
  EXPECT_EQ(violations(status()), std::vector<std::string>());
}

TEST_F(AgentStatusTest, TheCheckFindsWhatIsWrong) {
  policy("mine", io_of("/sonde-agent-*"));
  ASSERT_NO_FATAL_FAILURE(start());
  Json changed = status();
  ASSERT_EQ(violations(changed), std::vector<std::string>());
  changed["uptime_seconds"] = "long";
  changed["modules"][0]["health"] = "fine";
  changed["modules"][0].erase("losses");
  changed["surprise"] = 1;
  changed["subjects"]["known"] = -1;
  EXPECT_EQ(violations(changed).size(), 5U);
}

}  // namespace
}  // namespace sonde::test
