// SPDX-License-Identifier: Apache-2.0
// TCP connections that fail, each in its own way, against what the process itself was told and what the kernel's
// statistics of the same network say.
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/kernel/support/network_test.h"
#include "tests/kernel/support/tracepoint_count.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("NetworkFamilyTest.*", Trait::PodView);

constexpr uint16_t kFailurePort = 7008;

int error_of(int socket) {
  int error = -1;
  socklen_t length = sizeof(error);
  NET_MUST(getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  return error;
}

// Begins to connect and does not wait for the end.
int begin_connect(const sockaddr_storage& address) {
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address), length_of(address));
  NET_MUST(fd >= 0 && result < 0 && errno == EINPROGRESS);
  return fd;
}

// Not by poll(): an application in poll() when the error is set can fetch it before the state changes, and then the probe
// does not know its kind (network_error_report).
int wait_for_end(int socket) {
  constexpr uint8_t kSynSent = 2;  // include/net/tcp_states.h
  tcp_info info{};
  for (int waited_ms = 0; waited_ms < 60'000; waited_ms += 20) {
    usleep(20'000);
    socklen_t length = sizeof(info);
    NET_MUST(getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
    if (info.tcpi_state != kSynSent) return error_of(socket);
  }
  NET_MUST(!"the connection does not end");
  return -1;
}

// A listener that answers no more: as many connections as it takes wait to be accepted.
int full_listener(int family) {
  const int listener = listen_at(loopback(family, kFailurePort), 1);
  NET_MUST(listener >= 0);
  NET_MUST(connect_to(loopback(family, kFailurePort)) >= 0 && connect_to(loopback(family, kFailurePort)) >= 0);
  return listener;
}

class NetworkFamilyTest : public NetworkTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Families, NetworkFamilyTest, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& parameter) { return parameter.param == AF_INET ? "v4" : "v6"; });

TEST_P(NetworkFamilyTest, AClosedPortRefuses) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& culprit = selected("culprit", kNetworkDetailed);
  auto& other = selected("other", kNetworkDetailed);
  culprit.run([&] {
    for (int i = 0; i < 7; ++i) NET_MUST(connect_to(loopback(GetParam(), kFailurePort)) < 0 && errno == ECONNREFUSED);
  });
  collect();
  EXPECT_EQ(errors(culprit, "client", "refused"), 7);
  EXPECT_EQ(errors(culprit), 7);
  EXPECT_EQ(connects(culprit), 7U);
  EXPECT_EQ(opened(culprit, "client"), 0);
  EXPECT_EQ(total(culprit, "sonde.tcp.resets", {"receive"}), 7);
  EXPECT_EQ(everything(other), 0U);
}

TEST_P(NetworkFamilyTest, AResetIsAnErrorOfTheSideThatItComesTo) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  const linger at_once{1, 0};
  const pid_t child = server.start([&] {
    const int listener = listen_at(loopback(GetParam(), kFailurePort));
    steps().reach(0, 1);
    for (int i = 0; i < 3; ++i) {  // resets three, is reset by two
      const int peer = accept(listener, nullptr, nullptr);
      setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      steps().await(1, i + 1);  // its connect() has returned
      close(peer);
    }
    char byte;
    for (int i = 0; i < 2; ++i)
      NET_MUST(recv(accept(listener, nullptr, nullptr), &byte, 1, 0) < 0 && errno == ECONNRESET);
  });
  client.run([&] {
    steps().await(0, 1);
    char byte;
    for (int i = 0; i < 3; ++i) {
      const int peer = connect_to(loopback(GetParam(), kFailurePort));
      steps().reach(1, i + 1);
      NET_MUST(recv(peer, &byte, 1, 0) < 0 && errno == ECONNRESET);
    }
    for (int i = 0; i < 2; ++i) {
      const int peer = connect_to(loopback(GetParam(), kFailurePort));
      setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      close(peer);
    }
  });
  finish(child);
  collect();
  EXPECT_EQ(errors(client, "client", "reset"), 3);
  EXPECT_EQ(errors(client), 3);
  EXPECT_EQ(errors(server, "server", "reset"), 2);
  EXPECT_EQ(errors(server), 2);
  EXPECT_EQ(opened(client, "client"), 5);
  EXPECT_EQ(opened(server, "server"), 5);
  EXPECT_EQ(total(server, "sonde.tcp.resets", {"transmit"}), 3);
  EXPECT_EQ(total(server, "sonde.tcp.resets", {"receive"}), 2);
  EXPECT_EQ(total(client, "sonde.tcp.resets", {"transmit"}), 2);
  EXPECT_EQ(total(client, "sonde.tcp.resets", {"receive"}), 3);
}

TEST_P(NetworkFamilyTest, AFullAcceptQueueOverflowsAndTheClientTimesOut) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  const pid_t child = server.start([&] {
    NET_MUST(full_listener(GetParam()) >= 0);
    steps().reach(0, 1);
    steps().await(1, 1);
  });
  client.run([&] {
    steps().await(0, 1);
    const int patient = socket(GetParam(), SOCK_STREAM, 0);
    const int again = 1;
    setsockopt(patient, IPPROTO_TCP, TCP_SYNCNT, &again, sizeof(again));
    const auto address = loopback(GetParam(), kFailurePort);
    NET_MUST(connect(patient, reinterpret_cast<const sockaddr*>(&address), length_of(address)) < 0 &&
             errno == ETIMEDOUT);
    const int impatient = begin_connect(address);
    close(impatient);
  });
  steps().reach(1, 1);
  finish(child);
  collect();
  EXPECT_EQ(errors(client, "client", "timed_out"), 1);
  EXPECT_EQ(errors(client, "client", "_OTHER"), 1) << "given up by the application";
  EXPECT_EQ(errors(client), 2);
  EXPECT_EQ(connects(client), 2U);
  EXPECT_GT(histogram(client, "sonde.tcp.connect.duration").sum, 900'000'000U);
  EXPECT_EQ(opened(client, "client"), 0);
  EXPECT_EQ(total(client, "sonde.tcp.retransmits"), network_statistic("Tcp", "RetransSegs"));
  EXPECT_GE(total(client, "sonde.tcp.retransmits"), 1);
  EXPECT_EQ(total(server, "sonde.tcp.retransmits"), 0);
  ASSERT_TRUE(attached("network_packet_in"));
  EXPECT_GE(network_statistic("TcpExt", "ListenOverflows"), 3) << "two SYNs at least of the one, one of the other";
  EXPECT_EQ(total(server, "sonde.tcp.accept_queue.overflows"), network_statistic("TcpExt", "ListenOverflows"));
  EXPECT_EQ(total(client, "sonde.tcp.accept_queue.overflows"), 0);
  EXPECT_EQ(opened(server, "server"), 2);
}

// The queue fills up between the client's SYN and the segment that ends its handshake, which the listener puts off until
// there are data. Each of the client's attempts to send them overflows again.
TEST_P(NetworkFamilyTest, AHandshakeThatEndsAtAFullQueueOverflows) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  const TracepointCount unseen = hits_unseen("tcp:tcp_retransmit_skb");
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  const pid_t child = server.start([&] {
    const int listener = listen_at(loopback(GetParam(), kFailurePort), 1);
    const int seconds = 30;
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
    steps().reach(0, 1);
    steps().await(1, 1);
  });
  client.run([&] {
    steps().await(0, 1);
    const int late = connect_to(loopback(GetParam(), kFailurePort));
    NET_MUST(late >= 0);
    for (int i = 0; i < 2; ++i) send_all(connect_to(loopback(GetParam(), kFailurePort)), 10, 10);
    usleep(50'000);
    send_all(late, 10, 10);
    for (int i = 0; i < 30'000 && network_statistic("TcpExt", "ListenOverflows") < 3; ++i) usleep(1000);
    const linger at_once{1, 0};
    setsockopt(late, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(late);
  });
  steps().reach(1, 1);
  finish(child);
  collect();
  EXPECT_GE(network_statistic("TcpExt", "ListenOverflows"), 3);
  EXPECT_EQ(total(server, "sonde.tcp.accept_queue.overflows"), network_statistic("TcpExt", "ListenOverflows"));
  const int64_t again = total(client, "sonde.tcp.retransmits"), truth = network_statistic("Tcp", "RetransSegs");
  const auto missed = static_cast<int64_t>(unseen.count());
  const int64_t all = again + total(server, "sonde.tcp.retransmits");
  EXPECT_LE(all, truth);
  EXPECT_GE(all + missed, truth);
  EXPECT_GE(again + missed, 2);
}

TEST_P(NetworkFamilyTest, DataThatNobodyAcknowledgesIsSentAgainUntilTheConnectionTimesOut) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  const pid_t child = server.start([&] {
    const int listener = listen_at(loopback(GetParam(), kFailurePort));
    steps().reach(0, 1);
    const int peer = accept(listener, nullptr, nullptr);
    sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
    const sock_fprog filter{1, &nothing};
    NET_MUST(setsockopt(peer, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0);
    steps().reach(0, 2);
    steps().await(1, 1);
  });
  client.run([&] {
    steps().await(0, 1);
    const int peer = connect_to(loopback(GetParam(), kFailurePort));
    const unsigned int milliseconds = 900;
    setsockopt(peer, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
    steps().await(0, 2);
    send_all(peer, 20'000, 20'000);
    pollfd event{peer, POLLIN, 0};
    NET_MUST(poll(&event, 1, 60'000) == 1 && error_of(peer) == ETIMEDOUT);
  });
  collect();
  EXPECT_EQ(errors(client, "client", "timed_out"), 1);
  EXPECT_EQ(errors(client) + errors(server), 1);
  EXPECT_GE(network_statistic("Tcp", "RetransSegs"), 1);
  EXPECT_EQ(total(client, "sonde.tcp.retransmits"), network_statistic("Tcp", "RetransSegs"));
  EXPECT_EQ(total(server, "sonde.tcp.retransmits"), 0);
  EXPECT_EQ(tcp(client, "transmit"), 20'000) << "as often as it was sent, it was handed over once";
  EXPECT_EQ(tcp(server, "receive"), 0);
  steps().reach(1, 1);
  finish(child);
}

uint16_t checksum(const unsigned char* data, std::size_t length) {
  uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < length; i += 2) sum += static_cast<uint32_t>(data[i] << 8 | data[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// Answers a SYN as a router does that cannot deliver it. `code` as in ICMP and ICMPv6.
void answer_one(int sniffer, int icmp, int family, unsigned char code) {
  std::array<unsigned char, 2048> packet{};
  const std::size_t header = family == AF_INET ? 20 : 40;
  unsigned char* inner = packet.data() + 8;
  for (;;) {  // a raw IPv6 socket does not give the IP header
    unsigned char* tcp_header = inner + header;
    const ssize_t n = recv(sniffer, family == AF_INET ? inner : tcp_header, 1000, 0);
    NET_MUST(n > 0);
    const bool syn = (tcp_header[13] & 0x12) == 2;
    if (syn && tcp_header[2] == kFailurePort >> 8 && tcp_header[3] == (kFailurePort & 255)) break;
  }
  if (family == AF_INET6) {
    inner[0] = 0x60;
    inner[5] = 20;
    inner[6] = IPPROTO_TCP;
    inner[7] = 64;
    inner[23] = inner[39] = 1;  // from ::1 to ::1
  }
  packet[0] = family == AF_INET ? 3 : 1;  // destination unreachable
  packet[1] = code;
  const std::size_t length = 8 + header + 20;
  if (family == AF_INET) {
    const uint16_t sum = checksum(packet.data(), length);
    packet[2] = static_cast<unsigned char>(sum >> 8);
    packet[3] = static_cast<unsigned char>(sum & 255);
  }
  const auto to = loopback(family, 0);
  NET_MUST(sendto(icmp, packet.data(), length, 0, reinterpret_cast<const sockaddr*>(&to), length_of(to)) > 0);
}

// Answers every SYN, until it is killed: one that comes while its socket is still in connect() is only taken down.
[[noreturn]] void answer_as_router(Steps& steps, int family, unsigned char code) {
  const int sniffer = socket(family, SOCK_RAW, IPPROTO_TCP);
  const int protocol = family == AF_INET ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  const int icmp = socket(family, SOCK_RAW, protocol);
  NET_MUST(sniffer >= 0 && icmp >= 0);
  steps.reach(4, 1);
  for (;;) answer_one(sniffer, icmp, family, code);
}

TEST_P(NetworkFamilyTest, WhatARouterSaysIsToldApart) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& helper = cgroup("helper");
  auto& host = selected("host", kNetworkDetailed);
  auto& net = selected("net", kNetworkDetailed);
  const pid_t listening = helper.start([&] {
    NET_MUST(full_listener(GetParam()) >= 0);
    steps().reach(0, 1);
    steps().await(1, 1);
  });
  ASSERT_TRUE(steps().wait(0, 1));
  const bool v4 = GetParam() == AF_INET;
  const auto ask = [&](Cgroup& box, unsigned char code, int error) {
    steps().reach(4, 0);
    const pid_t router = helper.start([&] { answer_as_router(steps(), GetParam(), code); });
    ASSERT_TRUE(steps().wait(4, 1));
    box.run([&] { EXPECT_EQ(wait_for_end(begin_connect(loopback(GetParam(), kFailurePort))), error); });
    kill(router, SIGKILL);
    EXPECT_EQ(waitpid(router, nullptr, 0), router);
  };
  ask(host, v4 ? 1 : 3, EHOSTUNREACH);
  ask(net, 0, ENETUNREACH);
  steps().reach(1, 1);
  finish(listening);
  collect();
  EXPECT_EQ(errors(host, "client", "host_unreachable"), 1);
  EXPECT_EQ(errors(net, "client", "net_unreachable"), 1);
  EXPECT_EQ(errors(host), 1);
  EXPECT_EQ(errors(net), 1);
  EXPECT_EQ(connects(host), 1U);
  EXPECT_EQ(connects(net), 1U);
}

TEST_P(NetworkFamilyTest, NoRouteAtAllIsAnErrorToo) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& box = selected("lost", kNetworkDetailed);
  const bool v4 = GetParam() == AF_INET;
  if (!attached(v4 ? "network_connect_v4" : "network_connect_v6")) GTEST_SKIP() << "no fexit here: named as a gap";
  const auto nowhere = loopback(GetParam(), kFailurePort, v4 ? "10.9.8.7" : "2001:db8::7");
  box.run([&] {
    for (int i = 0; i < 3; ++i) NET_MUST(connect_to(nowhere) < 0 && errno == ENETUNREACH);
    if (!v4) NET_MUST(connect_to(loopback(AF_INET6, kFailurePort, "::ffff:10.9.8.7")) < 0 && errno == ENETUNREACH);
    NET_MUST(connect_to(loopback(GetParam(), kFailurePort)) < 0 && errno == ECONNREFUSED);
  });
  collect();
  EXPECT_EQ(errors(box, "client", "net_unreachable"), v4 ? 3 : 4);
  EXPECT_EQ(errors(box, "client", "refused"), 1);
  EXPECT_EQ(errors(box), v4 ? 4 : 5);
  EXPECT_EQ(connects(box), v4 ? 4U : 5U);
}

}  // namespace
}  // namespace sonde::test
