// SPDX-License-Identifier: Apache-2.0
// Policies while the agent runs: in force within two seconds, never at the cost of what others have counted.
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "agent/base/json.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs the agent, and each test loads all probes.
SONDE_TRAITS("AgentPolicyTest.*", Trait::HostOnly);

class AgentPolicyTest : public AgentTest {
 protected:
  // Reads in `box` until the agent shows that it has counted some.
  bool counts_soon(const Cgroup& box) {
    const int64_t before = bytes_read(box);
    return await_promised([&] {
      box.run([] { read_bytes(kBlock); });
      return bytes_read(box) > before;
    });
  }
  std::string problems() const { return json_text(status()["policy_errors"]); }
};

TEST_F(AgentPolicyTest, ExcludeKeepsOneOfTwoUnwatched) {
  const Cgroup& wanted = cgroup("wanted");
  const Cgroup& excluded = cgroup("excluded");
  policy("all", io_of("/sonde-agent-*"));
  policy("not", "mode: Exclude\n  cgroups: ['" + excluded.path() + "']");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(wanted.path()); }));
  EXPECT_FALSE(measured(excluded.path()));
  excluded.run([] { read_bytes(9000 * kBlock); });
  wanted.run([] { read_bytes(10 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(wanted) == 10 * kBlock; }));
  EXPECT_EQ(shown(excluded.path(), "sonde.file.io").series, 0U);
  // Without the exclusion it is measured, from then on.
  remove_policy("not");
  EXPECT_TRUE(counts_soon(excluded));
  EXPECT_LT(bytes_read(excluded), 9000 * kBlock);
}

TEST_F(AgentPolicyTest, FilesComeChangeBreakAndGoWithinTwoSeconds) {
  const Cgroup& steady = cgroup("steady");
  const Cgroup& box = cgroup("box");
  policy("steady", io_of(steady.path()));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(steady.path()); }));
  steady.run([] { read_bytes(100 * kBlock); });

  policy("mine", io_of(box.path()));
  EXPECT_TRUE(counts_soon(box)) << "added";
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: None\n  probes: [{name: io, level: Minimal}]");
  EXPECT_TRUE(await_promised([&] { return shown(box.path(), "sonde.file.operation.duration").series == 0; }, 3))
      << "changed";
  EXPECT_TRUE(counts_soon(box)) << "bytes are still asked for";

  policy_text("mine",
              "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: mine}\n"
              "spec: {presett: Minimal}\n");
  EXPECT_TRUE(await([&] { return problems().find("preset") != std::string::npos; })) << problems();
  EXPECT_TRUE(counts_soon(box)) << "the last good version stays in force";

  remove_policy("mine");
  EXPECT_TRUE(await_promised([&] { return shown(box.path(), "sonde.file.io").series == 0; }, 3)) << "removed";
  EXPECT_TRUE(await([&] { return problems() == "[]"; })) << problems();
  box.run([] { read_bytes(kBlock); });
  steady.run([] { read_bytes(50 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(steady) == 150 * kBlock; })) << bytes_read(steady);
  EXPECT_EQ(shown(box.path(), "sonde.file.io").series, 0U);
  stop();
  EXPECT_EQ(fallen(), std::vector<std::string>());
}

// The first values of what is selected later do not wait for the longer periods of others.
TEST_F(AgentPolicyTest, AShortPeriodIsKeptWhereTheIntervalIsLong) {
  const Cgroup& seldom = cgroup("seldom");
  const Cgroup& often = cgroup("often");
  policy("seldom", io_of(seldom.path()));
  ASSERT_NO_FATAL_FAILURE(start({{"interval", "30m"}}));
  ASSERT_TRUE(await([&] { return measured(seldom.path()); }));
  policy("often", io_of(often.path(), "collection: {periodSeconds: 1}"));
  ASSERT_TRUE(await([&] { return measured(often.path()); }));
  seldom.run([] { read_bytes(3 * kBlock); });
  often.run([] { read_bytes(5 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(often) == 5 * kBlock; }, 20));
  EXPECT_EQ(shown(seldom.path(), "sonde.file.io").series, 0U);
}

TEST_F(AgentPolicyTest, SelectedAgainWhileItsOldSlotIsStillClosing) {
  const Cgroup& box = cgroup("box");
  const std::string id(64, 'e');
  const Cgroup container(box.path() + "/docker-" + id + ".scope");
  const Cgroup inside(container.path() + "/inside");
  policy("mine", io_of(box.path() + "/**"));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(container.path()); }));
  for (int round = 0; round < 5; ++round) {
    remove_policy("mine");
    // Gone from what is shown means that the old slot is closing or closed; the moment differs from round to round.
    EXPECT_TRUE(await_promised([&] { return status()["policies"].empty(); }, 3));
    usleep(static_cast<useconds_t>(round) * 120'000);
    policy("mine", io_of(box.path() + "/**"));
    ASSERT_TRUE(await_promised([&] { return status()["policies"].size() == 1; }, 3));
    const int64_t before = bytes_read(id);
    inside.run([] { read_bytes(8 * kBlock); });
    EXPECT_TRUE(await([&] {
      const int64_t now = bytes_read(id);
      return now == 8 * kBlock || now == before + 8 * kBlock;
    })) << round
        << ": " << bytes_read(id) << " after " << before;
  }
  stop();
  EXPECT_EQ(fallen(), std::vector<std::string>());
}

TEST_F(AgentPolicyTest, ReloadTakesUpWhatItCanAndKeepsTheRestOnError) {
  const Cgroup& box = cgroup("box");
  const std::string file = directory_ + "/sonde.yaml";
  std::ofstream(file) << "defaultPolicy: {enabled: false}\n";
  policy("mine", io_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(load());
  stop();
  // The same by a file instead of a flag, so that it can change.
  AgentOptions options;
  options.inputs.env = [](std::string_view) { return std::nullopt; };
  options.inputs.file = file;
  options.inputs.flags = {{"policies", directory_ + "/policies"}, {"interval", "100ms"}, {"export", "none"}};
  options.servers = options.greet = false;
  options.alternative = "tracepoints";
  auto loaded = load_config(options.inputs);
  ASSERT_TRUE(loaded) << loaded.error().message();
  options.loaded = std::move(*loaded);
  auto agent = Agent::start(std::move(options));
  ASSERT_TRUE(agent) << agent.error().message();
  std::thread loop([&] { (*agent)->run(); });
  const auto state = [&] { return parse_json<nlohmann::json>((*agent)->status_json()); };
  EXPECT_EQ(state()["policies"].size(), 1U);
  std::ofstream(file) << "defaultPolicy: {enabled: true}\noverhead: {milliCpu: 77}\n";
  (*agent)->hurry();
  EXPECT_TRUE(await([&] { return state()["policies"].size() == 2; })) << state()["policies"];
  EXPECT_EQ(state()["overhead"]["budget_milli_cpu"], 77);
  std::ofstream(file) << "defaultPolicy: {enabled: perhaps}\n";
  (*agent)->hurry();
  EXPECT_FALSE(await([&] { return state()["policies"].size() != 2; }, 1)) << "what was in force stays";
  (*agent)->stop();
  loop.join();
}

}  // namespace
}  // namespace sonde::test
