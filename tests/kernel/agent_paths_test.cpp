// SPDX-License-Identifier: Apache-2.0
// Directories that come while the agent runs: however long their paths are, and wherever in the tree a pod is.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "agent/base/json.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("AgentPathsTest.A*", Trait::PodView);
// The agent is asked from outside the pod.
SONDE_TRAITS("AgentPathsTest.ServersSee*", Trait::HostOnly);

const std::string kUid = "8dbc5577-d0e2-4706-8787-57d52c03ddf3";

// A directory and all above it, removed innermost first.
class Nested {
 public:
  explicit Nested(const std::string& path) {
    for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
      add(path.substr(0, at));
    add(path);
  }
  ~Nested() {
    while (!levels_.empty()) levels_.pop_back();
  }
  const Cgroup& innermost() const { return *levels_.back(); }

 private:
  void add(const std::string& path) { levels_.push_back(std::make_unique<Cgroup>(path)); }
  std::vector<std::unique_ptr<Cgroup>> levels_;
};

class AgentPathsTest : public AgentTest {
 protected:
  AgentPathsTest() { only_ = "io"; }
  // Ids of this test alone, since other cgroups of the machine are not ours.
  static std::string id(char digit) {
    std::string text = std::to_string(getpid());
    return std::string(64 - text.size(), digit) + text;
  }
  void measure_containers(const std::string& below) {
    policy("mine", io_of(below + "/*"));
    ASSERT_NO_FATAL_FAILURE(start());
  }
  // The agent's root is a container's directory, as in kind: what it sees begins below it.
  void measure_in_a_node(bool outside_containers) {
    const Cgroup& top = cgroup("top");
    const Cgroup node(top.path() + "/docker-" + id('a') + ".scope");
    policy("mine", "preset: None\n  probes: [{name: io, level: Standard}]");
    ASSERT_NO_FATAL_FAILURE(
        start({{"cgroup-root", node.directory()}, {"outside-containers", outside_containers ? "true" : "false"}}));
    const std::string path = "/system.slice/x.service";
    const Nested service(node.path() + path);
    const Nested pod(node.path() + "/kubepods/pod" + kUid);
    const Cgroup container(pod.innermost().path() + "/" + id('b'));
    read_in(service.innermost(), 3);
    read_in(container, 5);
    EXPECT_TRUE(await([&] { return bytes_read(id('b')) == 5 * kBlock; })) << bytes_read(id('b'));
    const int64_t expected = outside_containers ? 3 * kBlock : 0;
    EXPECT_TRUE(await([&] { return bytes_read(path) == expected; })) << bytes_read(path);
    EXPECT_TRUE(await([&] { return measured(path); }))
        << "the subject has this path, whether a policy selects it or not";
    stop();
    int64_t of_the_service = 0;
    for (const Written& point : written()) {
      EXPECT_NE(point.subject, id('a')) << "the node's container is not visible: " << point.metric;
      if (point.subject == path && point.metric == "sonde.file.io" && !point.ended)
        of_the_service = std::max(of_the_service, point.value);
    }
    EXPECT_EQ(of_the_service, expected);
  }
  static void read_in(const Cgroup& box, int64_t blocks) {
    box.run([&] { read_bytes(static_cast<uint64_t>(blocks * kBlock)); });
  }
};

// The pod's directory is older than the agent and nobody asks for it; only its container comes later.
TEST_F(AgentPathsTest, AContainerBelowALongPathIsMeasured) {
  const Cgroup& top = cgroup("top");
  const Nested pod(top.path() + "/" + std::string(150, 'n') + "/kubepods/burstable/pod" + kUid);
  policy("mine", "containers: {names: ['" + id('a').substr(0, 60) +
                     "']}\n  preset: None\n  probes: [{name: io, level: Standard}]");
  ASSERT_NO_FATAL_FAILURE(start());
  const Cgroup container(pod.innermost().path() + "/" + id('a'));
  ASSERT_GT(container.path().size(), 255U);
  read_in(container, 7);
  EXPECT_TRUE(await([&] { return bytes_read(id('a')) == 7 * kBlock; })) << bytes_read(id('a'));
  EXPECT_TRUE(measured(container.path()));
  EXPECT_EQ(status()["subjects"]["unresolved_paths"], 0);
}

// Longer than what the kernel's own tracepoint tells (1,024 bytes), and close to the longest that a system call takes.
TEST_F(AgentPathsTest, APathOfAnyLengthIsMeasured) {
  const Cgroup& top = cgroup("top");
  measure_containers(top.path());
  std::string path = top.path();
  while (path.size() + 256 < 3800) path += "/" + std::string(255, 'd');
  const Nested deep(path);
  const Cgroup container(path + "/" + std::string(191, 'x') + id('a'));
  read_in(container, 5);
  EXPECT_TRUE(await([&] { return bytes_read(id('a')) == 5 * kBlock; })) << bytes_read(id('a'));
  EXPECT_TRUE(measured(container.path()));
}

// As in kind, seen from the machine below it: the node is a container, and its pods come while we watch.
TEST_F(AgentPathsTest, APodInAContainerIsItsOwnAndWhatElseIsThereIsTheContainers) {
  const Cgroup& top = cgroup("top");
  measure_containers(top.path());
  const Cgroup node(top.path() + "/docker-" + id('a') + ".scope");
  const Nested kubelet(node.path() + "/kubelet.slice/kubelet.service");
  std::string uid = kUid;
  std::ranges::replace(uid, '-', '_');
  const Nested pod(node.path() + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + uid + ".slice");
  const Cgroup container(pod.innermost().path() + "/cri-containerd-" + id('b') + ".scope");
  const Cgroup inside(container.path() + "/docker-" + id('c') + ".scope");
  const Cgroup both(node.path() + "/kubepods-pod" + uid + ".slice:cri-containerd:" + id('d'));
  read_in(kubelet.innermost(), 2);
  read_in(container, 3);
  read_in(inside, 5);
  read_in(both, 7);
  EXPECT_TRUE(await([&] { return bytes_read(id('b')) == 8 * kBlock; })) << bytes_read(id('b'));
  EXPECT_TRUE(await([&] { return bytes_read(id('a')) == 2 * kBlock; })) << bytes_read(id('a'));
  EXPECT_TRUE(await([&] { return bytes_read(id('d')) == 7 * kBlock; })) << bytes_read(id('d'));
  EXPECT_EQ(bytes_read(id('c')), 0) << "a container in a container is part of it";
  EXPECT_TRUE(measured(container.path()));
}

// The same tree, but it was there before.
TEST_F(AgentPathsTest, APodInAContainerThatWasThereBefore) {
  const Cgroup& top = cgroup("top");
  const Cgroup node(top.path() + "/docker-" + id('a') + ".scope");
  const Nested pod(node.path() + "/kubelet/kubepods/pod" + kUid);
  const Cgroup container(pod.innermost().path() + "/" + id('b'));
  measure_containers(top.path());
  ASSERT_TRUE(await([&] { return measured(container.path()) && measured(node.path()); }));
  read_in(container, 3);
  read_in(node, 2);
  EXPECT_TRUE(await([&] { return bytes_read(id('b')) == 3 * kBlock; })) << bytes_read(id('b'));
  EXPECT_TRUE(await([&] { return bytes_read(id('a')) == 2 * kBlock; })) << bytes_read(id('a'));
  const Cgroup later(pod.innermost().path() + "/" + id('c'));
  read_in(later, 4);
  EXPECT_TRUE(await([&] { return bytes_read(id('c')) == 4 * kBlock; })) << bytes_read(id('c'));
}

TEST_F(AgentPathsTest, AServiceThatComesLaterInANodeContainerHasItsOwnPath) { measure_in_a_node(true); }

TEST_F(AgentPathsTest, AServiceThatComesLaterInANodeContainerIsNotTakenForTheNode) { measure_in_a_node(false); }

TEST_F(AgentPathsTest, ServersSeeOneStateWhileTheConfigurationIsReplaced) {
  const Cgroup& top = cgroup("top");
  const Nested pod(top.path() + "/kubepods/pod" + kUid);
  const Cgroup container(pod.innermost().path() + "/" + id('a'));
  const std::string file = directory_ + "/sonde.yaml";
  const auto write = [&](int milli_cpu) {
    std::ofstream(file) << "procRoot: /proc/././././././././././././././././.\noverhead: {milliCpu: " << milli_cpu
                        << "}\n";
  };
  write(50);
  policy("mine", io_of(top.path() + "/*"));
  ASSERT_NO_FATAL_FAILURE(start({{"config", file}}));
  ASSERT_TRUE(await([&] { return measured(container.path()); }));
  std::atomic<bool> enough{false};
  std::atomic<int> answers{0}, wrong{0};
  const auto ask = [&] {
    while (!enough) {
      const auto json = parse_json<nlohmann::json>(agent().explain_json(kUid, ""));
      wrong += !json.is_object() || json["containers"].size() != 1;
      ++answers;
    }
  };
  std::thread first(ask), second(ask);
  for (int i = 0; i < 100; ++i) {
    write(51 + i % 2);
    agent().hurry();
    usleep(5'000);
  }
  EXPECT_TRUE(await([&] { return answers > 20; }));
  enough = true;
  first.join();
  second.join();
  EXPECT_EQ(wrong, 0) << "of " << answers;
}

}  // namespace
}  // namespace sonde::test
