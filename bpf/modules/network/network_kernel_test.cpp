// SPDX-License-Identifier: Apache-2.0
// TCP: payload and connections, against what the processes themselves sent, received and were told.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "tests/kernel/support/network_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("NetworkTest.*", Trait::PodView);
SONDE_TRAITS("NetworkTransferTest.*", Trait::PodView);

constexpr uint16_t kPort = 7007;

// A file with so many bytes.
int file_of(std::size_t size) {
  char name[] = "/dev/shm/sonde-network-XXXXXX";
  const int fd = mkstemp(name);
  NET_MUST(fd >= 0 && unlink(name) == 0 && ftruncate(fd, static_cast<off_t>(size)) == 0);
  return fd;
}

// Reads so many bytes of a socket into nothing, by way of a pipe.
void splice_out(int socket, std::size_t bytes) {
  int pipes[2];
  const int nothing = open("/dev/null", O_WRONLY);
  NET_MUST(pipe(pipes) == 0 && nothing >= 0);
  while (bytes) {
    const ssize_t n = splice(socket, nullptr, pipes[1], nullptr, bytes, SPLICE_F_MOVE);
    NET_MUST(n > 0);
    for (ssize_t left = n; left > 0;) {
      const ssize_t out = splice(pipes[0], nullptr, nothing, nullptr, static_cast<std::size_t>(left), SPLICE_F_MOVE);
      NET_MUST(out > 0);
      left -= out;
    }
    bytes -= static_cast<std::size_t>(n);
  }
}

// Every way in and out: send, send without copying, sendfile; recv, a look ahead that takes nothing away, splice.
constexpr uint64_t kSent = 300'007, kZeroCopy = 65'536, kFile = 123'457, kReply = 17;

void serve(Steps& steps, int family) {
  const int listener = listen_at(loopback(family, kPort));
  NET_MUST(listener >= 0);
  steps.reach(0, 1);
  const int peer = accept(listener, nullptr, nullptr);
  NET_MUST(peer >= 0);
  char byte[1000];
  NET_MUST(recv(peer, byte, sizeof(byte), MSG_PEEK | MSG_WAITALL) == sizeof(byte));
  NET_MUST(recv(peer, byte, sizeof(byte), MSG_PEEK | MSG_WAITALL) == sizeof(byte));
  NET_MUST(receive(peer, kSent + kZeroCopy) == kSent + kZeroCopy);
  off_t from = 0;
  const int file = file_of(kFile);
  while (static_cast<uint64_t>(from) < kFile) NET_MUST(sendfile(peer, file, &from, kFile) > 0);
  send_all(peer, kReply, 5);
  NET_MUST(receive(peer, 1) == 0);
}

void ask(Steps& steps, int family) {
  steps.await(0, 1);
  const int server = connect_to(loopback(family, kPort));
  NET_MUST(server >= 0);
  send_all(server, kSent, 7001);
  const int one = 1;
  const int flags = setsockopt(server, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) == 0 ? MSG_ZEROCOPY : 0;
  send_all(server, kZeroCopy, kZeroCopy, flags);
  splice_out(server, kFile);
  NET_MUST(receive(server, kReply) == kReply);
}

class NetworkTransferTest : public NetworkTest, public ::testing::WithParamInterface<std::pair<int, Cleanup>> {};

TEST_P(NetworkTransferTest, EachByteIsCountedOnceOnEitherSide) {
  const int family = GetParam().first;
  cleanup_ = GetParam().second;
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  auto& other = selected("other", 0);
  const pid_t child = server.start([&] { serve(steps(), family); });
  client.run([&] { ask(steps(), family); });
  finish(child);
  collect();
  EXPECT_EQ(tcp(client, "transmit"), static_cast<int64_t>(kSent + kZeroCopy));
  EXPECT_EQ(tcp(client, "receive"), static_cast<int64_t>(kFile + kReply));
  EXPECT_EQ(tcp(server, "transmit"), static_cast<int64_t>(kFile + kReply));
  EXPECT_EQ(tcp(server, "receive"), static_cast<int64_t>(kSent + kZeroCopy));
  EXPECT_EQ(opened(client, "client"), 1);
  EXPECT_EQ(opened(server, "server"), 1);
  EXPECT_EQ(opened(client, "server") + opened(server, "client"), 0);
  EXPECT_EQ(connects(client), 1U);
  EXPECT_EQ(connects(server), 0U);
  EXPECT_EQ(errors(client) + errors(server), 0);

  // The same again between unselected processes.
  const uint64_t before = everything(client) + everything(server);
  steps().reach(0, 0);
  const pid_t unselected = other.start([&] { serve(steps(), family); });
  other.run([&] { ask(steps(), family); });
  finish(unselected);
  collect();
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(everything(client) + everything(server), before);
}

INSTANTIATE_TEST_SUITE_P(Families, NetworkTransferTest,
                         ::testing::Values(std::pair(AF_INET, Cleanup::Keep), std::pair(AF_INET6, Cleanup::Keep),
                                           std::pair(AF_INET, Cleanup::Clear)),
                         [](const auto& parameter) {
                           return std::string(parameter.param.first == AF_INET ? "v4" : "v6") +
                                  (parameter.param.second == Cleanup::Clear ? "Cleared" : "Kept");
                         });

TEST_F(NetworkTest, ConnectionsThatStayOpenAreCountedWhileTheyIdle) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  auto& other = selected("other", kNetworkDetailed);
  const pid_t listens = other.start([&] {  // a socket, but no connection
    NET_MUST(listen_at(loopback(AF_INET, kPort + 1)) >= 0);
    steps().reach(1, 1);
    steps().await(3, 1);
  });
  ASSERT_TRUE(steps().wait(1, 1));
  const pid_t server_child = server.start([&] {
    const int listener = listen_at(loopback(AF_INET, kPort));
    steps().reach(0, 1);
    const int peer = accept(listener, nullptr, nullptr);
    NET_MUST(receive(peer, 1000) == 1000);
    send_all(peer, 300, 300);
    steps().await(2, 1);  // the client has read it, so the last acknowledgement is on its way
    const int silent = socket(AF_INET, SOCK_STREAM, 0);  // no connection
    NET_MUST(silent >= 0);
    const tcp_info info = info_of(peer);
    steps().figures[0] = info.tcpi_segs_out;
    steps().figures[1] = info.tcpi_segs_in;
    steps().reach(0, 2);
    steps().await(3, 1);
  });
  const pid_t client_child = client.start([&] {
    steps().await(0, 1);
    const int peer = connect_to(loopback(AF_INET, kPort));
    const int quick = 1;
    setsockopt(peer, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof(quick));
    send_all(peer, 1000, 100);
    NET_MUST(receive(peer, 300) == 300);
    usleep(200'000);  // a delayed acknowledgement has gone
    steps().reach(2, 1);
    steps().await(0, 2);
    const tcp_info info = info_of(peer);
    steps().figures[2] = info.tcpi_segs_out;
    steps().figures[3] = info.tcpi_segs_in;
    steps().reach(2, 2);
    steps().await(3, 1);
  });
  ASSERT_TRUE(steps().wait(2, 2));
  collect(true);
  // Without a pass through the sockets the last segment of each direction is missing, and what was sent since.
  const auto expect_until_last = [&](int64_t counted, int64_t all, int64_t last) {
    EXPECT_LE(counted, all);
    EXPECT_GE(counted, blind() ? all - last : all);
  };
  expect_until_last(tcp(client, "transmit"), 1000, 0);
  expect_until_last(tcp(client, "receive"), 300, 300);
  expect_until_last(tcp(server, "transmit"), 300, 0);
  expect_until_last(tcp(server, "receive"), 1000, 1000);
  EXPECT_EQ(active_connections(client), blind() ? -1 : 1) << "both are in one network";
  EXPECT_EQ(active_connections(server), blind() ? -1 : 1);
  EXPECT_EQ(says("sonde.tcp.active_connections is missing"), blind());
  EXPECT_EQ(everything(other), 0U);
  expect_until_last(total(server, "sonde.tcp.segments", {"transmit"}), steps().figures[0], 1);
  expect_until_last(total(server, "sonde.tcp.segments", {"receive"}), steps().figures[1], 1);
  expect_until_last(total(client, "sonde.tcp.segments", {"transmit"}), steps().figures[2], 1);
  expect_until_last(total(client, "sonde.tcp.segments", {"receive"}), steps().figures[3], 1);
  // Of the client's first segment, the SYN-ACK, the round trip is taken but no sample; of the server's first two likewise.
  EXPECT_EQ(histogram(client, "sonde.tcp.rtt").count, static_cast<uint64_t>(steps().figures[3] - 1));
  EXPECT_EQ(histogram(server, "sonde.tcp.rtt").count, static_cast<uint64_t>(steps().figures[1] - 2));
  steps().reach(3, 1);
  finish(server_child);
  finish(client_child);
  finish(listens);
  collect(true);
  EXPECT_EQ(active_connections(client), 0);
  EXPECT_EQ(active_connections(server), 0);
  EXPECT_EQ(tcp(client, "transmit") + tcp(client, "receive"), 1300) << "the end of a connection is no payload";
  EXPECT_EQ(tcp(server, "transmit") + tcp(server, "receive"), 1300);
}

TEST_F(NetworkTest, AConnectionOlderThanTheSelectionCountsFromThenOn) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkMinimal);  // so the probe is attached when the client is selected
  auto& client = cgroup("client");
  const pid_t server_child = server.start([&] {
    const int listener = listen_at(loopback(AF_INET, kPort));
    steps().reach(0, 1);
    const int peer = accept(listener, nullptr, nullptr);
    NET_MUST(receive(peer, 5000) == 5000);
    send_all(peer, 70, 70);
    NET_MUST(receive(peer, 600) == 600);
    NET_MUST(receive(peer, 1) == 0);
  });
  const pid_t client_child = client.start([&] {
    steps().await(0, 1);
    const int peer = connect_to(loopback(AF_INET, kPort));
    send_all(peer, 5000, 500);
    NET_MUST(receive(peer, 70) == 70);
    steps().reach(1, 1);
    steps().await(2, 1);
    usleep(20'000);  // as a pod, in the same tick it could have been before
    send_all(peer, 600, 60);
  });
  ASSERT_TRUE(steps().wait(1, 1));
  collect();
  EXPECT_EQ(everything(client), 0U);
  select(client, {{"network", kNetworkMinimal}});
  steps().reach(2, 1);
  finish(client_child);
  finish(server_child);
  collect();
  EXPECT_EQ(tcp(client, "transmit"), 600);
  EXPECT_EQ(tcp(client, "receive"), 0);
  EXPECT_EQ(tcp(server, "receive"), 5600);
  EXPECT_EQ(tcp(server, "transmit"), 70);
}

TEST_F(NetworkTest, WhatHappensWhileNobodyAsksIsNotMadeUpForLater) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& box = selected("pause", kNetworkMinimal);
  const pid_t child = box.start([&] {
    const int listener = listen_at(loopback(AF_INET, kPort));
    const int there = connect_to(loopback(AF_INET, kPort));
    const int here = accept(listener, nullptr, nullptr);
    const uint64_t amounts[] = {100, 2000, 30000};
    for (int i = 0; i < 3; ++i) {
      steps().await(0, i + 1);
      send_all(there, amounts[i], 1000);
      NET_MUST(receive(here, amounts[i]) == amounts[i]);
      steps().reach(1, i + 1);
    }
  });
  const auto round = [&](int step) {
    steps().reach(0, step);
    ASSERT_TRUE(steps().wait(1, step));
    collect();
  };
  round(1);
  EXPECT_LE(tcp(box, "transmit"), 100);
  EXPECT_GE(tcp(box, "transmit"), blind() ? 0 : 100);
  select(box, {});
  round(2);
  select(box, {{"network", kNetworkMinimal}});
  round(3);
  finish(child);
  collect();
  for (const char* direction : {"transmit", "receive"}) {
    EXPECT_LE(tcp(box, direction), 30100);
    EXPECT_GE(tcp(box, direction), blind() ? 30000 : 30100);
  }
}

// Sockets come and go, are idle and busy, on both sides of hundreds of connections, while the flush runs all the time.
TEST_F(NetworkTest, NothingIsLostOrDoubledWhileCollectionsGoOn) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  constexpr int kLines = 3, kCollections = kLines;
  const int rounds = std::getenv("SONDE_TEST_VM") ? 60 : 300;  // emulated machines are slow
  const auto amount = [](int line, int round) {
    return 1 + (static_cast<uint64_t>(line) * 7919 + static_cast<uint64_t>(round) * 104'729) % 60'000;
  };
  std::vector<pid_t> children;
  int64_t bytes = 0;
  for (int line = 0; line < kLines; ++line) {
    const auto port = static_cast<uint16_t>(kPort + line);
    for (int round = 0; round < rounds; ++round) bytes += static_cast<int64_t>(amount(line, round));
    children.push_back(server.start([&, line, port] {
      const int listener = listen_at(loopback(AF_INET, port));
      steps().reach(line, 1);
      for (int round = 0; round < rounds; ++round) {
        const int peer = accept(listener, nullptr, nullptr);
        NET_MUST(receive(peer, amount(line, round)) == amount(line, round));
        send_all(peer, amount(line, round), 5000);
        if (round % 2) NET_MUST(receive(peer, 1) == 0);  // who closes first takes turns
        close(peer);
      }
    }));
    children.push_back(client.start([&, line, port] {
      steps().await(line, 1);
      for (int round = 0; round < rounds; ++round) {
        steps().await(kCollections, 12 * round / rounds);  // they go on all the while, however long each takes
        const int peer = connect_to(loopback(AF_INET, port));
        NET_MUST(peer >= 0);
        send_all(peer, amount(line, round), 3000);
        NET_MUST(receive(peer, amount(line, round)) == amount(line, round));
        if (round % 2 == 0) NET_MUST(receive(peer, 1) == 0);
        close(peer);
      }
    }));
  }
  int collections = 0;
  for (std::size_t left = children.size(); left > 0;) {
    collect(true);
    steps().reach(kCollections, ++collections);
    for (pid_t& child : children) {
      siginfo_t ended{};
      if (child < 0) continue;
      waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
      if (!ended.si_pid) continue;
      finish(child);
      child = -1;
      --left;
    }
  }
  collect(true);
  EXPECT_GT(collections, 10);
  for (const Cgroup* box : {&client, &server}) {
    EXPECT_EQ(tcp(*box, "transmit"), bytes);
    EXPECT_EQ(tcp(*box, "receive"), bytes);
    EXPECT_EQ(errors(*box), 0);
    EXPECT_EQ(total(*box, "sonde.tcp.active_connections"), 0);
  }
  EXPECT_EQ(opened(client, "client"), kLines * rounds);
  EXPECT_EQ(opened(server, "server"), kLines * rounds);
  EXPECT_EQ(connects(client), static_cast<uint64_t>(kLines * rounds));
}

}  // namespace
}  // namespace sonde::test
