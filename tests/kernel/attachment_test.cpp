// SPDX-License-Identifier: Apache-2.0
// Links that somebody else takes away, and refusals that pass: what is attached is looked at, not remembered.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>

#include "agent/base/clock.h"
#include "tests/kernel/support/cgroup_verdict.h"
#include "tests/kernel/support/held_objects.h"
#include "tests/kernel/support/network_test.h"

namespace sonde::test {
namespace {

constexpr uint16_t kPort = 7011;
constexpr int kDatagrams = 20;

void exchange_datagrams() {
  const auto to = loopback(AF_INET, kPort);
  const int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
  NET_MUST(bind(server, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == 0);
  char byte = 0;
  for (int i = 0; i < kDatagrams; ++i) {
    NET_MUST(sendto(client, &byte, 1, 0, reinterpret_cast<const sockaddr*>(&to), length_of(to)) == 1);
    NET_MUST(recv(server, &byte, 1, 0) == 1);
  }
}

class AttachmentTest : public NetworkTest {
 protected:
  int64_t datagrams(const Cgroup& box) {
    box.run(exchange_datagrams);
    collect();
    return total(box, "sonde.udp.datagrams", {"transmit"});
  }
  void detach_all() {
    const auto links = cgroup_links();
    ASSERT_EQ(links.size(), 2U);
    for (const Fd& link : links) ASSERT_EQ(bpf_link_detach(link.get()), 0);
  }
  ModuleReport report() { return engine().modules()[module_id("network")]; }
  bool says(const std::string& what) {
    return std::ranges::any_of(report().reasons,
                               [&](const std::string& reason) { return reason.find(what) != std::string::npos; });
  }
};

TEST_F(AttachmentTest, ALinkThatSomebodyDetachesIsAttachedAgain) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& box = selected("box", NETWORK_UDP);
  const uint64_t now = boottime_ns();
  watch_programs(now);
  EXPECT_EQ(datagrams(box), kDatagrams);
  const std::vector<std::string> before = report().reasons;  // some machines lack a hook
  detach_all();
  EXPECT_EQ(datagrams(box), kDatagrams) << "the test's own: without the programs nothing is counted";
  watch_programs(now + 1'000'000'000);
  EXPECT_TRUE(attached("network_packet_in") && attached("network_packet_out"));
  EXPECT_EQ(datagrams(box), 2 * kDatagrams);
  EXPECT_EQ(report().health, ModuleHealth::Degraded) << "what happened in between was not counted";
  EXPECT_TRUE(says("network_packet_out: another process detached it"));
  watch_programs(now + 2'000'000'000 + kHeldNs);
  EXPECT_EQ(report().reasons, before);
  EXPECT_EQ(datagrams(box), 3 * kDatagrams);
}

TEST_F(AttachmentTest, WhoDetachesAgainAndAgainIsMetWithPatienceAndStatusSaysThatItIsDown) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& box = selected("box", NETWORK_UDP);
  uint64_t now = boottime_ns();
  detach_all();
  watch_programs(now += 1'000'000'000);
  EXPECT_TRUE(attached("network_packet_out"));
  for (const uint64_t wait : {1, 2, 4}) {  // seconds until the next try
    detach_all();
    watch_programs(now += 1'000'000);
    EXPECT_FALSE(attached("network_packet_out"));
    EXPECT_EQ(report().health, ModuleHealth::Degraded);
    EXPECT_TRUE(says("transmitted UDP is not measured"));
    watch_programs(now + wait * 1'000'000'000 - 1'000'000);
    EXPECT_FALSE(attached("network_packet_out")) << wait;
    watch_programs(now += wait * 1'000'000'000);
    EXPECT_TRUE(attached("network_packet_out")) << wait;
  }
  EXPECT_EQ(datagrams(box), kDatagrams);
}

TEST_F(AttachmentTest, ALinkThatWasGivenAnotherProgramIsMadeAnew) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  auto& box = selected("box", NETWORK_UDP);
  const Fd other = verdict_program(true, true);
  ASSERT_TRUE(other);
  const auto links = cgroup_links();
  ASSERT_EQ(links.size(), 2U);
  bool replaced = false;  // the direction of the link is not known here: one of the two takes it
  for (const Fd& link : links) replaced = bpf_link_update(link.get(), other.get(), nullptr) == 0 || replaced;
  ASSERT_TRUE(replaced);
  EXPECT_EQ(datagrams(box), 0);
  watch_programs(boottime_ns());
  EXPECT_EQ(datagrams(box), kDatagrams);
}

// Above the directory that we attach to there is a program that allows no others below it.
class RefusedAttachmentTest : public AttachmentTest {
 protected:
  EngineOptions options() const override {
    EngineOptions options = AttachmentTest::options();
    options.cgroup_root = below_->directory();
    return options;
  }
  void SetUp() override {
    const std::string name = "/sonde-test-refusal-" + std::to_string(getpid());
    above_ = std::make_unique<Cgroup>(name);
    below_ = std::make_unique<Cgroup>(name + "/below");
    directory_ = Fd(open(above_->directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    AttachmentTest::SetUp();
  }
  void TearDown() override {
    AttachmentTest::TearDown();
    below_.reset();
    above_.reset();
  }
  std::unique_ptr<Cgroup> above_, below_;
  Fd directory_;
};

TEST_F(RefusedAttachmentTest, ARefusalThatPassesIsForgotten) {
  OwnNetwork network;
  ASSERT_TRUE(network.ok());
  const Fd exclusive = verdict_program(true, true);
  ASSERT_TRUE(exclusive);
  ASSERT_EQ(bpf_prog_attach(exclusive.get(), directory_.get(), BPF_CGROUP_INET_EGRESS, 0), 0);
  select(*below_, {{"network", NETWORK_UDP}});
  EXPECT_FALSE(attached("network_packet_out"));
  EXPECT_TRUE(attached("network_packet_in"));
  EXPECT_TRUE(says("cannot attach to cgroup_skb/egress"));
  EXPECT_EQ(datagrams(*below_), 0);
  uint64_t now = boottime_ns();
  watch_programs(now += kLongestRetryNs);
  EXPECT_FALSE(attached("network_packet_out"));
  ASSERT_EQ(bpf_prog_detach2(exclusive.get(), directory_.get(), BPF_CGROUP_INET_EGRESS), 0);
  watch_programs(now += 1'000'000);
  EXPECT_FALSE(attached("network_packet_out")) << "it is not yet time";
  watch_programs(now += kLongestRetryNs);
  EXPECT_TRUE(attached("network_packet_out"));
  EXPECT_EQ(datagrams(*below_), kDatagrams);
  EXPECT_FALSE(says("network_packet_out"));
}

}  // namespace
}  // namespace sonde::test
