// SPDX-License-Identifier: Apache-2.0
// `sonde top --once -o json --probe NAME` of every probe: the command as it is, on this machine's kernel.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/json.h"
#include "agent/cli/cli.h"
#include "agent/cli/top_columns.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// `sonde top` runs outside the pod.
SONDE_TRAITS("AgentTopTest.*", Trait::HostOnly);

using Json = nlohmann::json;

struct Said {
  int code = -1;
  std::string out, err;
};

Said top(std::vector<std::string> words) {
  words.insert(words.begin(), {"sonde", "top", "--once", "-o", "json", "--every", "400ms"});
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Said said;
  said.code = cli::run(static_cast<int>(words.size()), argv.data());
  std::fflush(stdout);
  said.out = testing::internal::GetCapturedStdout();
  said.err = testing::internal::GetCapturedStderr();
  return said;
}

class AgentTopTest : public AgentTest {
 protected:
  // Works in a cgroup until the table has been made.
  Json table_of(const std::string& probe, const std::string& sort, const std::function<void()>& work) {
    const Cgroup& box = cgroup("box");
    const pid_t child = box.start([&] {
      while (getppid() != 1) work();
    });
    const Said said = top({"--probe", probe, "--sort", sort});
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    EXPECT_EQ(said.code, 0) << said.err;
    path_ = box.path();
    return parse_json<Json>(said.out);
  }
  std::string path_;
};

TEST_F(AgentTopTest, EveryProbeHasATable) {
  for (const ModuleEntry& entry : modules()) {
    const std::string name(entry.module->info().name);
    const Said said = top({"--probe", name});
    ASSERT_EQ(said.code, 0) << name << ": " << said.err;
    const Json json = parse_json<Json>(said.out);
    ASSERT_TRUE(json.is_object()) << name << ": " << said.out;
    std::vector<cli::TopColumn> columns;
    const auto shown = cli::probes_named(name);
    for (const ModuleInfo* probe : *shown) {
      for (auto& column : cli::columns_of(*probe)) columns.push_back(std::move(column));
    }
    ASSERT_EQ(json["columns"].size(), columns.size()) << name;
    EXPECT_EQ(json["sorted_by"], columns.front().name);
    EXPECT_GT(json["seconds"].get<double>(), 0) << name;
    for (const auto& row : json["rows"]) {
      for (const auto& column : columns) EXPECT_TRUE(row.contains(column.field)) << name << ": " << column.field;
    }
  }
}

TEST_F(AgentTopTest, WhoWorksIsInTheTable) {
  const Json json = table_of("process", "process.forks", [] {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
  });
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["sorted_by"], "process.forks");
  bool found = false;
  for (const auto& row : json["rows"])
    found = found || (row["name"] == path_ && row["process.forks"].get<double>() > 1);
  EXPECT_TRUE(found) << json["rows"];
  double last = 1e300;
  for (const auto& row : json["rows"]) {
    EXPECT_LE(row["process.forks"].get<double>(), last) << "sorted";
    last = row["process.forks"];
  }
}

}  // namespace
}  // namespace sonde::test
