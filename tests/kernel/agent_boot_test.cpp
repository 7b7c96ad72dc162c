// SPDX-License-Identifier: Apache-2.0
// The agent's part in the boot guard (agent/runtime/boot_guard.h): when the boot is noted, and what an agent does on a node that
// went down twice after it had attached.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "agent/api/http_client.h"
#include "agent/base/clock.h"
#include "agent/base/file.h"
#include "agent/base/json.h"
#include "agent/cli/cli.h"
#include "agent/runtime/boot_guard.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/held_objects.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("AgentBootTest.TheBoot*", Trait::PodView);
// An agent is started from outside the pod.
SONDE_TRAITS("AgentBootTest.InKubernetes*", Trait::HostOnly);
SONDE_TRAITS("AgentBootTest.AnAgentThatIsStartedByHand*", Trait::HostOnly);

// CLOCK_BOOTTIME; UINT64_MAX if there is none.
uint64_t first_loaded_ns(const HeldObjects& objects) {
  uint64_t first = UINT64_MAX;
  for (const uint32_t id : objects.programs) {
    const Fd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    uint32_t length = sizeof(info);
    if (program && bpf_obj_get_info_by_fd(program.get(), &info, &length) == 0)
      first = std::min<uint64_t>(first, info.load_time);
  }
  return first;
}

// A port of 127.0.0.1 that was free a moment ago.
std::string free_address() {
  const Fd any(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(bind(any.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(any.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

class AgentBootTest : public AgentTest {
 protected:
  AgentBootTest() { only_ = "io"; }
  void SetUp() override {
    AgentTest::SetUp();
    state_ = directory_ + "/state";
  }
  std::string note_path() const { return state_ + "/boot.json"; }
  nlohmann::json note() const {
    const auto text = read_small_file(note_path());
    return text ? parse_json<nlohmann::json>(*text) : nlohmann::json();
  }
  // An agent of this version attached in two boots, each of which ended with the node.
  void went_down_twice() const {
    const std::string boot_id = directory_ + "/boot_id";
    for (const char* boot : {"a", "b"}) {
      std::ofstream(boot_id) << boot << "\n";
      ASSERT_TRUE(BootGuard({.directory = state_, .boot_id_file = boot_id}).attaching());
    }
  }
  // `sonde agent` as Kubernetes starts it, in a process of its own. The API server is none.
  pid_t start_command(const std::string& address) const {
    const pid_t child = fork();
    if (child) return child;
    const std::map<std::string, std::string> flags = {{"--state-directory", state_},
                                                      {"--policies", directory_ + "/policies"},
                                                      {"--default-policy", "false"},
                                                      {"--export", "file"},
                                                      {"--file", directory_ + "/out.jsonl"},
                                                      {"--api-server", "http://127.0.0.1:1"},
                                                      {"--node-name", "node"},
                                                      {"--http", "off"},
                                                      {"--http-local", address},
                                                      {"--grpc", "off"},
                                                      {"--unix-socket", directory_ + "/socket"}};
    std::vector<std::string> words = {"sonde", "agent"};
    for (const auto& [flag, value] : flags) words.insert(words.end(), {flag, value});
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    _exit(cli::run(static_cast<int>(words.size()), argv.data()));
  }
  std::string state_;
};

TEST_F(AgentBootTest, TheBootIsNotedBeforeAnythingIsLoadedAndSettledAtAnOrderlyEnd) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  const uint64_t offset = realtime_ns() - boottime_ns();
  ASSERT_NO_FATAL_FAILURE(start({{"state-directory", state_}}));
  box.run([] { read_bytes(4096); });
  ASSERT_TRUE(await([&] { return bytes_read(box) == 4096; }));
  ASSERT_TRUE(note().is_object()) << "there is no " << note_path();
  EXPECT_EQ(note()["settled"], false);
  EXPECT_EQ(note()["reboots"], 0);
  struct stat status {};
  ASSERT_EQ(stat(note_path().c_str(), &status), 0);
  // The file system's clock is that of the last tick: never late.
  const auto noted = static_cast<uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000 +
                     static_cast<uint64_t>(status.st_mtim.tv_nsec) - offset;
  const uint64_t loaded = first_loaded_ns(held_objects());
  ASSERT_NE(loaded, UINT64_MAX);
  EXPECT_LT(noted, loaded);
  stop();
  EXPECT_EQ(note()["settled"], true);
}

TEST_F(AgentBootTest, AnAgentThatIsStartedByHandAfterTwoRebootsFailsAndLoadsNothing) {
  policy("mine", "preset: Standard");
  went_down_twice();
  AgentOptions options;
  options.inputs.env = [](std::string_view) { return std::nullopt; };
  options.inputs.flags = {{"policies", directory_ + "/policies"}, {"state-directory", state_}, {"export", "none"}};
  auto loaded = load_config(options.inputs);
  ASSERT_TRUE(loaded) << loaded.error().message();
  options.loaded = std::move(*loaded);
  options.servers = false;
  const auto agent = Agent::start(std::move(options));
  ASSERT_FALSE(agent);
  EXPECT_NE(agent.error().message().find("the node went down 2 times in a row"), std::string::npos)
      << agent.error().message();
  EXPECT_TRUE(held_objects().programs.empty());
  EXPECT_EQ(note()["reboots"], 1) << "the note stays as the last boot left it";
}

TEST_F(AgentBootTest, InKubernetesItIsIdleUntilTheNoteIsDeleted) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  went_down_twice();
  const std::string address = free_address();
  const pid_t child = start_command(address);
  ASSERT_GT(child, 0);
  const std::string process = std::to_string(child);
  const auto status = [&] {
    const auto text = get_from_agent(address, "/statusz", 5'000'000'000);
    return text ? parse_json<nlohmann::json>(*text) : nlohmann::json();
  };
  nlohmann::json now;
  int code = -1;
  EXPECT_TRUE(await([&] {
    now = status();
    return now.is_object() || waitpid(child, &code, WNOHANG) != 0;
  }));
  ASSERT_TRUE(now.is_object()) << "it ended with " << code;
  EXPECT_EQ(now["idle"]["reason"], "NodeRebootedAfterAttach") << now;
  EXPECT_EQ(now["policies"][0]["failures"][0]["reason"], "NodeRebootedAfterAttach") << now;
  EXPECT_TRUE(held_objects(process).programs.empty());
  EXPECT_EQ(held_objects(process).links, 0);
  EXPECT_EQ(note()["settled"], false);
  EXPECT_EQ(note()["reboots"], 1);

  std::filesystem::remove(note_path());
  kill(child, SIGHUP);  // it looks again
  EXPECT_TRUE(await([&] { return held_objects(process).links > 3; }));
  EXPECT_EQ(note()["reboots"], 0);
  kill(child, SIGTERM);
  EXPECT_EQ(waitpid(child, &code, 0), child);
  EXPECT_TRUE(WIFEXITED(code) && WEXITSTATUS(code) == 0) << code;
  EXPECT_EQ(note()["settled"], true);
}

}  // namespace
}  // namespace sonde::test
