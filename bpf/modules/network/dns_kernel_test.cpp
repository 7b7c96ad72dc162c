// SPDX-License-Identifier: Apache-2.0
// DNS look-ups against a server of our own at port 53 of a network of our own.
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "tests/kernel/support/network_test.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("NetworkDnsTest.*", Trait::PodView);

constexpr uint16_t kDnsPort = 53;
constexpr uint16_t kA = 1, kMx = 15, kAaaa = 28, kUnknown = 4711;
constexpr int kNoError = 0, kServerFailure = 2, kNoName = 3;
constexpr int kSilence = -1;  // as code: the server does not answer

std::string two(int value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 255)}; }

// What the server is to answer is in the question's own name.
std::string question(uint16_t number, uint16_t type, int code) {
  std::string message = two(number) + two(0x0100) + two(1) + two(0) + two(0) + two(0);
  message += std::string("\4code") + '\1' + (code == kSilence ? 's' : static_cast<char>('0' + code));
  message += std::string("\7example\3com") + '\0' + two(type) + two(1);
  return message;
}

// Empty: none is to be given.
std::string answer_to(std::string message) {
  const char code = message[18];
  if (code == 's') return {};
  message[2] = static_cast<char>(0x81);
  message[3] = static_cast<char>(0x80 | (code - '0'));
  return message;
}

std::string framed(const std::string& message) { return two(static_cast<int>(message.size())) + message; }

void answer_datagrams(int fd, int questions, useconds_t delay) {
  std::array<char, 1500> data;
  for (int i = 0; i < questions; ++i) {
    sockaddr_storage from{};
    socklen_t length = sizeof(from);
    const ssize_t n = recvfrom(fd, data.data(), data.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    NET_MUST(n > 18);
    const std::string answer = answer_to(std::string(data.data(), static_cast<std::size_t>(n)));
    usleep(delay);
    if (!answer.empty())
      NET_MUST(sendto(fd, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), length) > 0);
  }
}

std::string read_exactly(int fd, std::size_t bytes) {
  std::string data(bytes, 0);
  NET_MUST(recv(fd, data.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes));
  return data;
}

std::string read_message(int fd) {
  const std::string prefix = read_exactly(fd, 2);
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(prefix[i])); };
  return read_exactly(fd, byte(0) << 8 | byte(1));
}

class NetworkDnsTest : public NetworkTest, public ::testing::WithParamInterface<int> {
 protected:
  uint64_t lookups(const Cgroup& box, const char* type, const char* error = "") {
    if (!*error) return histogram(box, "sonde.dns.lookup.duration", {type}).count;
    return histogram(box, "sonde.dns.lookup.duration", {type, error}).count;
  }
  uint64_t lookups(const Cgroup& box) {
    uint64_t sum = 0;
    for (const auto& [name, value] : totals_.histograms[slot_of(box)]) {
      if (name.starts_with("sonde.dns.lookup.duration")) sum += value.count;
    }
    return sum;
  }
};
INSTANTIATE_TEST_SUITE_P(Families, NetworkDnsTest, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& parameter) { return parameter.param == AF_INET ? "v4" : "v6"; });

TEST_P(NetworkDnsTest, EachDatagramThatIsAnsweredIsALookupOfWhoAsked) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  auto& other = selected("other", 0);
  const auto serve = [&] {
    const int fd = socket(GetParam(), SOCK_DGRAM, 0);
    const auto address = loopback(GetParam(), kDnsPort);
    NET_MUST(bind(fd, reinterpret_cast<const sockaddr*>(&address), length_of(address)) == 0);
    steps().reach(0, 1);
    answer_datagrams(fd, 8, 20'000);
  };
  const auto ask = [&] {
    steps().await(0, 1);
    const auto to = loopback(GetParam(), kDnsPort);
    const int fd = socket(GetParam(), SOCK_DGRAM, 0);
    NET_MUST(connect(fd, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == 0);
    std::array<char, 1500> data;
    const auto send_one = [&](const std::string& message) {
      NET_MUST(send(fd, message.data(), message.size(), 0) == static_cast<ssize_t>(message.size()));
    };
    // A and AAAA at once, as resolvers do; then one after the other.
    send_one(question(1, kA, kNoError));
    send_one(question(2, kAaaa, kNoName));
    for (int i = 0; i < 2; ++i) NET_MUST(recv(fd, data.data(), data.size(), 0) > 0);
    const std::pair<uint16_t, int> more[] = {{kA, kNoError}, {kMx, kServerFailure}, {kUnknown, kNoError}, {kA, 5}};
    uint16_t number = 3;
    for (const auto& [type, code] : more) {
      send_one(question(number++, type, code));
      NET_MUST(recv(fd, data.data(), data.size(), 0) > 0);
    }
    // The same number again before there is an answer is the same look-up, and its second answer is nobody's.
    send_one(question(number, kA, kNoError));
    send_one(question(number, kA, kNoError));
    for (int i = 0; i < 2; ++i) NET_MUST(recv(fd, data.data(), data.size(), 0) > 0);
  };
  const pid_t child = server.start(serve);
  client.run(ask);
  finish(child);
  collect();
  EXPECT_EQ(lookups(client, "A"), 3U);
  EXPECT_EQ(lookups(client, "A", "refused"), 1U);
  EXPECT_EQ(lookups(client, "AAAA", "nxdomain"), 1U);
  EXPECT_EQ(lookups(client, "MX", "servfail"), 1U);
  EXPECT_EQ(lookups(client, "_OTHER"), 1U);
  EXPECT_EQ(lookups(client), 7U);
  EXPECT_GE(histogram(client, "sonde.dns.lookup.duration", {"MX", "servfail"}).sum, 20'000'000U);
  EXPECT_EQ(lookups(server), 0U) << "answering is no look-up";

  const uint64_t before = everything(client) + everything(server);
  steps().reach(0, 0);
  const pid_t unselected = other.start(serve);
  other.run(ask);
  finish(unselected);
  collect();
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(everything(client) + everything(server), before);
}

// One answered late, one with a failure; not those that are answered, if only to say that there is no such name.
TEST_P(NetworkDnsTest, ALookupThatTakesLongOrFailsIsASpan) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  Spans spans(engine().module_object("network"));
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  auto& unasked = selected("unasked", kNetworkDetailed);
  spans.ask(slot_of(client), {{SONDE_SPAN_DNS_LOOKUP, 800'000}}, {SONDE_SPAN_DNS_LOOKUP});
  for (const Cgroup* box : {&unasked, &client}) {
    steps() = {};
    const pid_t child = server.start([&] {
      const int fd = socket(GetParam(), SOCK_DGRAM, 0);
      const auto address = loopback(GetParam(), kDnsPort);
      NET_MUST(bind(fd, reinterpret_cast<const sockaddr*>(&address), length_of(address)) == 0);
      steps().reach(0, 1);
      answer_datagrams(fd, 3, 0);
      answer_datagrams(fd, 1, 1'000'000);
    });
    box->run([&] {
      steps().await(0, 1);
      const auto to = loopback(GetParam(), kDnsPort);
      const int fd = socket(GetParam(), SOCK_DGRAM, 0);
      NET_MUST(connect(fd, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == 0);
      std::array<char, 1500> data;
      uint16_t number = 1;
      for (const auto& [type, code] : {std::pair{kA, kNoError}, {kA, kNoName}, {kMx, kServerFailure}, {kAaaa, kNoError}}) {
        const std::string message = question(number++, type, code);
        NET_MUST(send(fd, message.data(), message.size(), 0) == static_cast<ssize_t>(message.size()));
        NET_MUST(recv(fd, data.data(), data.size(), 0) > 0);
      }
    });
    finish(child);
    const auto sent = spans.take();
    ASSERT_EQ(sent.size(), box == &client ? 2U : 0U);
    if (sent.empty()) continue;
    EXPECT_EQ(sent[0].detail, NETWORK_DNS_KEY(NETWORK_DNS_MX, NETWORK_DNS_SERVER_FAILURE));
    EXPECT_LT(duration_of(sent[0]), 800'000'000U);
    EXPECT_EQ(sent[1].detail, NETWORK_DNS_KEY(NETWORK_DNS_AAAA, NETWORK_DNS_ANSWERED));
    EXPECT_GE(duration_of(sent[1]), 1'000'000'000U);
    for (const sonde_span& span : sent) {
      EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_DNS_LOOKUP));
      EXPECT_EQ(span.slot, slot_of(client));
      EXPECT_STRNE(span.comm, "");
      EXPECT_EQ(span.tid, span.tgid);
      EXPECT_EQ(span.family, GetParam());
      EXPECT_EQ(span.transport, IPPROTO_UDP);
      EXPECT_EQ(span.port, kDnsPort);
      std::array<char, INET6_ADDRSTRLEN> text{};
      inet_ntop(GetParam(), span.address, text.data(), text.size());
      EXPECT_STREQ(text.data(), GetParam() == AF_INET ? "127.0.0.1" : "::1");
    }
    collect();
    EXPECT_EQ(histogram(client, "sonde.dns.lookup.duration", {"AAAA"}).sum, duration_of(sent[1]));
  }
}

// In one segment with its length, two in one segment, and with its length sent before.
TEST_P(NetworkDnsTest, LookupsOverTcpAreCountedHoweverTheyAreSent) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& server = selected("server", kNetworkDetailed);
  auto& client = selected("client", kNetworkDetailed);
  const int one = 1;
  const auto send_one = [](int fd, const std::string& data) {
    NET_MUST(send(fd, data.data(), data.size(), 0) == static_cast<ssize_t>(data.size()));
  };
  const pid_t child = server.start([&] {
    const int listener = listen_at(loopback(GetParam(), kDnsPort));
    steps().reach(0, 1);
    const int peer = accept(listener, nullptr, nullptr);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    send_one(peer, framed(answer_to(read_message(peer))));
    const std::string first = answer_to(read_message(peer));
    send_one(peer, framed(first) + framed(answer_to(read_message(peer))));
    const std::string alone = framed(answer_to(read_message(peer)));
    send_one(peer, alone.substr(0, 2));
    steps().await(1, 1);  // so that the two do not become one on their way
    send_one(peer, alone.substr(2));
    NET_MUST(receive(peer, 1) == 0);
  });
  client.run([&] {
    steps().await(0, 1);
    const int peer = connect_to(loopback(GetParam(), kDnsPort));
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    send_one(peer, framed(question(1, kA, kNoError)));
    read_message(peer);
    send_one(peer, framed(question(2, kA, kNoName)) + framed(question(3, kAaaa, kNoName)));
    read_message(peer);
    read_message(peer);
    const std::string alone = framed(question(4, kMx, kNoError));
    send_one(peer, alone.substr(0, 2));
    usleep(20'000);
    send_one(peer, alone.substr(2));
    read_exactly(peer, 2);
    steps().reach(1, 1);
    read_exactly(peer, alone.size() - 2);
  });
  finish(child);
  collect();
  EXPECT_EQ(lookups(client, "A"), 1U);
  EXPECT_EQ(lookups(client, "A", "nxdomain"), 1U);
  EXPECT_EQ(lookups(client, "AAAA", "nxdomain"), 1U);
  EXPECT_EQ(lookups(client, "MX"), 1U);
  EXPECT_EQ(lookups(client), 4U);
  EXPECT_EQ(lookups(server), 0U);
}

TEST_F(NetworkTest, ALookupWithoutAnAnswerTimesOut) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& client = selected("client", kNetworkDetailed);
  client.run([&] {
    const int server = socket(AF_INET, SOCK_DGRAM, 0);
    const auto to = loopback(AF_INET, kDnsPort);
    NET_MUST(bind(server, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == 0);
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    const std::string message = question(1, kA, kSilence);
    NET_MUST(sendto(fd, message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&to), length_of(to)) > 0);
  });
  collect();
  EXPECT_EQ(histogram(client, "sonde.dns.lookup.duration", {"A", "timed_out"}).count, 0U) << "too early to say";
  sleep(11);
  collect();
  const auto lost = histogram(client, "sonde.dns.lookup.duration", {"A", "timed_out"});
  EXPECT_EQ(lost.count, 1U);
  EXPECT_EQ(lost.sum, NETWORK_DNS_TIMEOUT);
}

}  // namespace
}  // namespace sonde::test
