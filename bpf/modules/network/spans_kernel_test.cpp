// SPDX-License-Identifier: Apache-2.0
// Spans of connects. Those of DNS look-ups are in dns_kernel_test.cpp.
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "agent/base/clock.h"
#include "tests/kernel/support/network_test.h"
#include "tests/kernel/support/span_test.h"

namespace sonde::test {
namespace {

constexpr uint16_t kSpanPort = 7019;
constexpr uint32_t kConnectThreshold = 900'000;  // us: a SYN that is lost is sent again after a second

class NetworkSpansTest : public NetworkTest, public ::testing::WithParamInterface<int> {
 protected:
  // Is the peer of this span port kSpanPort of this machine?
  static bool is_to_loopback(const sonde_span& span) {
    const sockaddr_storage address = loopback(GetParam(), kSpanPort);
    const void* bytes = GetParam() == AF_INET
                            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&address)->sin_addr)
                            : &reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr;
    return span.family == GetParam() && span.port == kSpanPort && span.transport == IPPROTO_TCP &&
           memcmp(span.address, bytes, GetParam() == AF_INET ? 4 : 16) == 0;
  }
};
INSTANTIATE_TEST_SUITE_P(Families, NetworkSpansTest, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& parameter) { return parameter.param == AF_INET ? "v4" : "v6"; });

// The accept queue is full: the third SYN is dropped, and sent again when there is room.
TEST_P(NetworkSpansTest, AConnectWhoseSynIsLostIsOneAndOthersAreNone) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  Spans spans(engine().module_object("network"));
  auto& server = selected("server", kNetworkStandard);
  auto& client = selected("client", kNetworkStandard);
  auto& unasked = selected("unasked", kNetworkStandard);
  spans.ask(slot_of(client), {{SONDE_SPAN_CONNECT, kConnectThreshold}}, {SONDE_SPAN_CONNECT});
  for (const Cgroup* box : {&unasked, &client}) {
    steps() = {};
    const pid_t child = server.start([&] {
      const int listener = listen_at(loopback(GetParam(), kSpanPort), 1);
      NET_MUST(listener >= 0);
      const int64_t dropped = network_statistic("TcpExt", "ListenOverflows");
      steps().reach(0, 1);
      steps().await(1, 1);
      while (network_statistic("TcpExt", "ListenOverflows") == dropped) usleep(1000);  // the third one's SYN
      for (int i = 0; i < 3; ++i) NET_MUST(accept(listener, nullptr, nullptr) >= 0);
    });
    box->run([&] {
      prctl(PR_SET_NAME, "connects");
      steps().await(0, 1);
      for (int i = 0; i < 2; ++i) NET_MUST(connect_to(loopback(GetParam(), kSpanPort)) >= 0);
      steps().reach(1, 1);
      steps().figures[0] = static_cast<int64_t>(monotonic_ns());
      NET_MUST(connect_to(loopback(GetParam(), kSpanPort)) >= 0);
      steps().figures[1] = static_cast<int64_t>(monotonic_ns());
    });
    finish(child);
    const auto sent = spans.take();
    ASSERT_EQ(sent.size(), box == &client ? 1U : 0U);
    if (sent.empty()) continue;
    const sonde_span& span = sent.front();
    EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_CONNECT));
    EXPECT_EQ(span.slot, slot_of(client));
    EXPECT_TRUE(is_to_loopback(span)) << span.family << " " << span.port;
    EXPECT_GE(duration_of(span), uint64_t{kConnectThreshold} * 1000);
    EXPECT_GE(span.start_ns, static_cast<uint64_t>(steps().figures[0]));
    EXPECT_LE(span.end_ns, static_cast<uint64_t>(steps().figures[1]));
    EXPECT_EQ(span.error, 0);
    EXPECT_STREQ(span.comm, "connects");
    EXPECT_STREQ(span.leader_comm, "connects");
  }
}

TEST_P(NetworkSpansTest, AFailureIsOneUnlessTheyRefuse) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  if (!engine().features().fentry) GTEST_SKIP() << "a connect() that has no route is only seen with fexit";
  Spans spans(engine().module_object("network"));
  auto& client = selected("client", kNetworkStandard);
  spans.ask(slot_of(client), {{SONDE_SPAN_CONNECT, kConnectThreshold}}, {SONDE_SPAN_CONNECT});
  const char* nowhere = GetParam() == AF_INET ? "192.0.2.1" : "2001:db8::1";  // RFC 5737, 3849
  client.run([&] {
    for (int i = 0; i < 5; ++i) NET_MUST(connect_to(loopback(GetParam(), kSpanPort)) < 0 && errno == ECONNREFUSED);
    NET_MUST(connect_to(loopback(GetParam(), kSpanPort, nowhere)) < 0 && errno == ENETUNREACH);
  });
  const auto sent = spans.take();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].error, ENETUNREACH);
  EXPECT_EQ(sent[0].family, GetParam());
  EXPECT_EQ(sent[0].port, kSpanPort);
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(GetParam(), sent[0].address, text.data(), text.size());
  EXPECT_STREQ(text.data(), nowhere);
}

}  // namespace
}  // namespace sonde::test
