// SPDX-License-Identifier: Apache-2.0
// UDP and drops, against what the processes sent and received and the kernel's statistics of the same network.
#include <bpf/btf.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "tests/kernel/support/network_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("NetworkGapTest.*", Trait::PodView);
SONDE_TRAITS("NetworkUdpTest.*", Trait::PodView);

constexpr uint16_t kUdpPort = 7009;

// Datagrams of more than this come in fragments.
void make_mtu_small() {
  const Fd any(socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_mtu = 1500;
  ASSERT_EQ(ioctl(any.get(), SIOCSIFMTU, &request), 0);
}

int bound_to(const sockaddr_storage& address) {
  const int fd = socket(address.ss_family, SOCK_DGRAM, 0);
  NET_MUST(fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), length_of(address)) == 0);
  return fd;
}

class NetworkUdpTest : public NetworkTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Families, NetworkUdpTest, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& parameter) { return parameter.param == AF_INET ? "v4" : "v6"; });

// Small ones, an empty one, one in fragments, ten in one call; looked at before they are read, and not read whole.
TEST_P(NetworkUdpTest, EachDatagramIsCountedOnceOnEitherSide) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  make_mtu_small();
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  auto& other = selected("other", 0);
  constexpr int kSmall = 100;
  constexpr int64_t kDatagrams = kSmall + 1 + 1 + 10;
  constexpr int64_t kBytes = kSmall * 33 + 0 + 20'000 + 10 * 1000;
  const auto serve = [&] {
    const int fd = bound_to(loopback(GetParam(), kUdpPort));
    const int room = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    steps().reach(0, 1);
    char data[100];
    for (int i = 0; i < kDatagrams; ++i) {
      NET_MUST(recv(fd, data, sizeof(data), MSG_PEEK) >= 0);
      NET_MUST(recv(fd, data, sizeof(data), 0) >= 0);
    }
    steps().reach(0, 2);
  };
  const auto ask = [&] {
    steps().await(0, 1);
    const std::string data(20'000, 'x');
    const auto to = loopback(GetParam(), kUdpPort);
    const auto* address = reinterpret_cast<const sockaddr*>(&to);
    const int loose = socket(GetParam(), SOCK_DGRAM, 0);
    for (int i = 0; i < kSmall / 2; ++i) NET_MUST(sendto(loose, data.data(), 33, 0, address, length_of(to)) == 33);
    const int bound = socket(GetParam(), SOCK_DGRAM, 0);
    NET_MUST(connect(bound, address, length_of(to)) == 0);
    for (int i = 0; i < kSmall / 2; ++i) NET_MUST(send(bound, data.data(), 33, 0) == 33);
    NET_MUST(send(bound, data.data(), 0, 0) == 0);
    NET_MUST(send(bound, data.data(), 20'000, 0) == 20'000);
    const int each = 1000;
    NET_MUST(setsockopt(bound, IPPROTO_UDP, UDP_SEGMENT, &each, sizeof(each)) == 0);
    NET_MUST(send(bound, data.data(), 10'000, 0) == 10'000);
  };
  const pid_t child = server.start(serve);
  client.run(ask);
  finish(child);
  collect();
  EXPECT_EQ(udp(client, "transmit"), kBytes);
  EXPECT_EQ(udp(server, "receive"), kBytes);
  EXPECT_EQ(total(client, "sonde.udp.datagrams", {"transmit"}), kDatagrams);
  EXPECT_EQ(total(server, "sonde.udp.datagrams", {"receive"}), kDatagrams);
  EXPECT_EQ(udp(client, "receive") + udp(server, "transmit"), 0);
  EXPECT_EQ(tcp(client, "transmit") + tcp(server, "receive"), 0);

  const uint64_t before = everything(client) + everything(server);
  steps().reach(0, 0);
  const pid_t unselected = other.start(serve);
  other.run(ask);
  finish(unselected);
  collect();
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(everything(client) + everything(server), before);
}

// The kernel names the receiving socket of a packet that it drops since 6.11.
bool names_the_receiver() {
  const std::unique_ptr<btf, decltype(&btf__free)> kernel(btf__load_vmlinux_btf(), btf__free);
  const int id = btf__find_by_name_kind(kernel.get(), "btf_trace_kfree_skb", BTF_KIND_TYPEDEF);
  const btf_type* type = btf__type_by_id(kernel.get(), btf__type_by_id(kernel.get(), static_cast<__u32>(id))->type);
  return btf_vlen(btf__type_by_id(kernel.get(), type->type)) > 4;
}

TEST_P(NetworkUdpTest, WhatFindsNoRoomIsDroppedByTheReceiver) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& lazy = selected("lazy", NETWORK_DROPS);
  auto& sender = selected("sender", NETWORK_DROPS);
  const pid_t child = lazy.start([&] {
    const int fd = bound_to(loopback(GetParam(), kUdpPort));
    const int room = 1;  // as little as there may be
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    steps().reach(0, 1);
    steps().await(1, 1);
  });
  sender.run([&] {
    steps().await(0, 1);
    const std::string data(500, 'x');
    const auto to = loopback(GetParam(), kUdpPort);
    const int fd = socket(GetParam(), SOCK_DGRAM, 0);
    for (int i = 0; i < 50; ++i) {
      NET_MUST(sendto(fd, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == 500);
    }
  });
  collect();
  const int64_t truth =
      GetParam() == AF_INET ? network_statistic("Udp", "RcvbufErrors") : network_statistic("Udp6", "RcvbufErrors");
  EXPECT_GT(truth, 30);
  const int64_t dropped = total(lazy, "sonde.network.drops", {"socket_rcvbuff"});
  if (names_the_receiver()) {
    EXPECT_EQ(dropped, truth);
  } else {
    EXPECT_EQ(everything(lazy), 0U) << "nobody says whose it was";
  }
  EXPECT_EQ(everything(sender), 0U);
  steps().reach(1, 1);
  finish(child);
}

// A kernel that does not take one of the programs: what the others measure goes on, and status says what is missing.
class NetworkGapTest : public NetworkTest {
 protected:
  EngineOptions options() const override {
    EngineOptions options = NetworkTest::options();
    options.break_program = "network_packet_in";
    return options;
  }
};

TEST_F(NetworkGapTest, TheRestWorksAndTheGapHasAName) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& box = selected("box", kNetworkDetailed);
  box.run([] {
    const auto to = loopback(AF_INET, kUdpPort);
    const int server = bound_to(to);
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    char data[100] = {};
    NET_MUST(sendto(fd, data, sizeof(data), 0, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == sizeof(data));
    NET_MUST(recv(server, data, sizeof(data), 0) == sizeof(data));
    NET_MUST(connect_to(to) < 0 && errno == ECONNREFUSED);
  });
  collect();
  EXPECT_EQ(udp(box, "transmit"), 100);
  EXPECT_EQ(udp(box, "receive"), 0);
  EXPECT_EQ(errors(box, "client", "refused"), 1);
  const ModuleReport report = engine().modules()[module_id("network")];
  EXPECT_EQ(report.health, ModuleHealth::Degraded);
  const bool named = std::ranges::any_of(report.reasons, [](const std::string& reason) {
    return reason.find("accept_queue.overflows and received UDP are not measured") != std::string::npos;
  });
  EXPECT_TRUE(named);
}

}  // namespace
}  // namespace sonde::test
