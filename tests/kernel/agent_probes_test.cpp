// SPDX-License-Identifier: Apache-2.0
// `--probes` limits the default policy: what is not named is neither attached nor exported.
#include <set>

#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs the agent, and each test loads all probes.
SONDE_TRAITS("AgentProbesTest.*", Trait::HostOnly);

class AgentProbesTest : public AgentTest {
 protected:
  std::set<std::string> attached() const {
    std::set<std::string> names;
    const auto now = status();  // by value: a loop over a part of it would outlive it
    for (const auto& module : now["modules"]) {
      for (const auto& program : module["programs"]) {
        if (program["state"] == "attached") names.insert(module["name"].get<std::string>());
      }
    }
    return names;
  }
};

TEST_F(AgentProbesTest, NamesAndAliasesLimitTheDefaultPolicy) {
  const Cgroup& box = cgroup("box");
  ASSERT_NO_FATAL_FAILURE(
      start({{"default-policy", "true"}, {"outside-containers", "true"}, {"probes", "fs,process,cpu"}}));
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(8192); });
  EXPECT_TRUE(await([&] { return bytes_read(box) == 8192; }));
  // Of process nothing is below Detailed.
  EXPECT_EQ(attached(), (std::set<std::string>{"io", "sched"}));
  EXPECT_EQ(status()["policies"].size(), 1U) << status()["policies"];
  stop();
  for (const Written& point : written()) {
    if (point.subject.empty()) continue;
    const bool asked = point.metric.starts_with("sonde.file.") || point.metric.starts_with("sonde.sched.") ||
                       point.metric.starts_with("sonde.thread.") || point.metric.starts_with("sonde.cpu.");
    EXPECT_TRUE(asked) << point.metric << " of " << point.subject;
  }
}

TEST_F(AgentProbesTest, TheirLevelIsThePreset) {
  cgroup("box");
  ASSERT_NO_FATAL_FAILURE(start(
      {{"default-policy", "true"}, {"outside-containers", "true"}, {"probes", "process"}, {"preset", "Detailed"}}));
  EXPECT_TRUE(await([&] { return attached() == std::set<std::string>{"process"}; }));
}

}  // namespace
}  // namespace sonde::test
