// SPDX-License-Identifier: Apache-2.0
// Connections that were there before the agent: found by the descriptors of all processes, or, as in a pod, which sees
// its own alone, by their next segment.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "agent/base/clock.h"
#include "tests/kernel/support/network_test.h"
#include "tests/kernel/support/pod.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("NetworkOlderTest.*", Trait::PodView, Trait::PodEachKernel);

constexpr uint16_t kOlderPort = 7013;
constexpr int kRounds = 200;
constexpr std::size_t kMessage = 1000;

enum class Sees { EveryProcess, OnlyItsOwn };

// A child in a cgroup that has a connection with itself before there is an engine, and uses it when it is told to.
class NetworkOlderTest : public NetworkTest, public ::testing::WithParamInterface<Sees> {
 protected:
  EngineOptions options() const override {
    EngineOptions options = NetworkTest::options();
    if (GetParam() == Sees::OnlyItsOwn)
      options.without = [](Features& features) { features.first_pid_namespace = false; };
    return options;
  }
  void SetUp() override {
    NetworkTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(network_.ok());
  }
  static bool sees_every_process() { return GetParam() == Sees::EveryProcess && !Pod::wanted(); }
  // `use` gets the two ends, after step 1 of line 0; what it does is counted. Line 1 says how far it is.
  pid_t start(const Cgroup& box, int protocol, const std::function<void(int there, int here)>& before,
              const std::function<void(int there, int here)>& use) {
    return box.start([this, protocol, before, use] {
      const auto address = loopback(AF_INET, kOlderPort);
      const int listener = socket(AF_INET, SOCK_STREAM, protocol), there = socket(AF_INET, SOCK_STREAM, protocol);
      const int one = 1;
      setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
      NET_MUST(bind(listener, reinterpret_cast<const sockaddr*>(&address), length_of(address)) == 0);
      NET_MUST(listen(listener, 8) == 0);
      NET_MUST(connect(there, reinterpret_cast<const sockaddr*>(&address), length_of(address)) == 0);
      const int here = accept(listener, nullptr, nullptr);
      NET_MUST(here >= 0);
      // Else each message waits for the acknowledgement of the one before.
      NET_MUST(setsockopt(there, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
      before(there, here);
      steps().reach(1, 1);
      steps().await(0, 1);
      usleep(20'000);  // in the same tick it could have been before
      use(there, here);
      steps().reach(1, 2);
      steps().await(0, 2);
    });
  }
  static void exchange(int there, int here) {
    for (int i = 0; i < kRounds; ++i) {
      send_all(there, kMessage, kMessage);
      NET_MUST(receive(here, kMessage) == kMessage);
    }
  }
  OwnNetwork network_;
};
INSTANTIATE_TEST_SUITE_P(Agents, NetworkOlderTest, ::testing::Values(Sees::EveryProcess, Sees::OnlyItsOwn),
                         [](const auto& parameter) {
                           return parameter.param == Sees::EveryProcess ? "SeesEveryProcess" : "SeesOnlyItsOwn";
                         });

TEST_P(NetworkOlderTest, EachByteFromNowOnIsCounted) {
  for (const int protocol : {IPPROTO_TCP, IPPROTO_MPTCP}) {
    const Fd probe(socket(AF_INET, SOCK_STREAM, protocol));
    if (!probe) continue;  // this kernel has no Multipath TCP
    SCOPED_TRACE(protocol);
    steps() = Steps{};
    auto& box = cgroup("older-" + std::to_string(protocol));
    const pid_t child = start(
        box, protocol, [](int there, int here) { exchange(there, here); }, exchange);
    ASSERT_TRUE(steps().wait(1, 1));
    select(box, {{"network", kNetworkDetailed}});
    collect(true);
    EXPECT_EQ(total(box, "sonde.tcp.active_connections"), 2) << "its two ends, before anything has moved";
    steps().reach(0, 1);
    ASSERT_TRUE(steps().wait(1, 2));
    collect(true);
    EXPECT_EQ(total(box, "sonde.tcp.active_connections"), 2);
    for (const char* direction : {"transmit", "receive"}) {
      const auto all = static_cast<int64_t>(kRounds * kMessage), last = static_cast<int64_t>(kMessage);
      EXPECT_LE(tcp(box, direction), all);
      EXPECT_GE(tcp(box, direction), blind() ? all - last : all);
    }
    EXPECT_EQ(opened(box, "client") + opened(box, "server"), 0);
    steps().reach(0, 2);
    finish(child);
    collect();
    EXPECT_EQ(tcp(box, "transmit") + tcp(box, "receive"), static_cast<int64_t>(2 * kRounds * kMessage));
    EXPECT_EQ(errors(box), 0);
  }
}

TEST_P(NetworkOlderTest, WhatIsWrittenAndClosedAtOnceIsCounted) {
  auto& box = cgroup("closes");
  const pid_t child = start(
      box, IPPROTO_TCP, [](int, int) {},
      [](int there, int here) {
        send_all(there, 5000, 5000);
        close(there);
        NET_MUST(receive(here, 6000) == 5000);
      });
  ASSERT_TRUE(steps().wait(1, 1));
  select(box, {{"network", kNetworkMinimal}});
  steps().reach(0, 1);
  ASSERT_TRUE(steps().wait(1, 2));
  steps().reach(0, 2);
  finish(child);
  collect();
  EXPECT_EQ(tcp(box, "transmit"), 5000);
  EXPECT_EQ(tcp(box, "receive"), 5000);
}

TEST_P(NetworkOlderTest, WhoIsNotSelectedIsNotCounted) {
  auto &box = cgroup("older"), &other = selected("other", kNetworkDetailed);
  const pid_t child = start(
      box, IPPROTO_TCP, [](int, int) {}, exchange);
  ASSERT_TRUE(steps().wait(1, 1));
  select(box, {});
  steps().reach(0, 1);
  ASSERT_TRUE(steps().wait(1, 2));
  steps().reach(0, 2);
  finish(child);
  collect();
  EXPECT_EQ(everything(box) + everything(other), 0U);
}

// Two containers of one pod: how many of the pod's connections are whose is not known until all have been seen.
TEST_P(NetworkOlderTest, ConnectionsOfWhoSharesANetworkAreMissingWhileTheyAreNotKnown) {
  auto &server = cgroup("server"), &client = cgroup("client");
  const pid_t server_child = server.start([&] {
    const int listener = listen_at(loopback(AF_INET, kOlderPort));
    steps().reach(2, 1);
    const int first = accept(listener, nullptr, nullptr), second = accept(listener, nullptr, nullptr);
    NET_MUST(first >= 0 && second >= 0);
    steps().reach(2, 2);
    NET_MUST(receive(first, 10) == 10 && receive(second, 10) == 10);
    steps().reach(2, 3);
    steps().await(0, 2);
  });
  const pid_t client_child = client.start([&] {
    steps().await(2, 1);
    const int first = connect_to(loopback(AF_INET, kOlderPort)), second = connect_to(loopback(AF_INET, kOlderPort));
    NET_MUST(first >= 0 && second >= 0);
    steps().await(0, 1);
    usleep(20'000);
    send_all(first, 10, 10);
    send_all(second, 10, 10);
    steps().await(0, 2);
  });
  ASSERT_TRUE(steps().wait(2, 2));
  select(server, {{"network", kNetworkDetailed}});
  select(client, {{"network", kNetworkDetailed}});
  collect(true);
  const bool at_once = sees_every_process();
  EXPECT_EQ(active_connections(server), at_once ? 2 : -1);
  EXPECT_EQ(active_connections(client), at_once ? 2 : -1);
  EXPECT_EQ(says("sonde.tcp.active_connections is missing"), !at_once);
  steps().reach(0, 1);
  ASSERT_TRUE(steps().wait(2, 3));
  if (!blind()) {
    EXPECT_TRUE(eventually([&] {  // the acknowledgements have come, too
      collect(true);
      return active_connections(server) == 2 && active_connections(client) == 2;
    }));
    EXPECT_EQ(tcp(client, "transmit"), 20);
    EXPECT_EQ(tcp(server, "receive"), 20);
  }
  steps().reach(0, 2);
  finish(server_child);
  finish(client_child);
  collect(true);
  EXPECT_EQ(tcp(client, "transmit"), 20);
  EXPECT_EQ(tcp(server, "receive"), 20);
  EXPECT_EQ(active_connections(server), 0);
}

// A map of somebody else's, with something in it for each of these sockets: theirs are not empty.
void store_something(int first, int second) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__new_empty(), btf__free);
  const int number = btf__add_int(types.get(), "int", 4, BTF_INT_SIGNED);
  NET_MUST(number > 0 && btf__load_into_kernel(types.get()) == 0);
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.map_flags = BPF_F_NO_PREALLOC;
  options.btf_fd = static_cast<__u32>(btf__fd(types.get()));
  options.btf_key_type_id = options.btf_value_type_id = static_cast<__u32>(number);
  const int map = bpf_map_create(BPF_MAP_TYPE_SK_STORAGE, "others", 4, 4, 0, &options);
  const int value = 7;
  NET_MUST(map >= 0 && bpf_map_update_elem(map, &first, &value, 0) == 0 &&
           bpf_map_update_elem(map, &second, &value, 0) == 0);
}

TEST_P(NetworkOlderTest, WhatOthersKeepAtASocketHidesItForSixteenSegmentsAtMost) {
  auto& box = cgroup("shared");
  const pid_t child = start(box, IPPROTO_TCP, store_something, exchange);
  ASSERT_TRUE(steps().wait(1, 1));
  select(box, {{"network", kNetworkMinimal}});
  steps().reach(0, 1);
  ASSERT_TRUE(steps().wait(1, 2));
  collect();
  const auto all = static_cast<int64_t>(kRounds * kMessage), most = static_cast<int64_t>(17 * kMessage);
  EXPECT_LE(tcp(box, "receive"), all);
  EXPECT_GE(tcp(box, "receive"), sees_every_process() ? all : all - most);
  EXPECT_LE(tcp(box, "transmit"), all);
  steps().reach(0, 2);
  finish(child);
}

}  // namespace
}  // namespace sonde::test
