// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/module/module.h"
#include "bpf/modules/network/established_tables.h"
#include "bpf/modules/network/network.h"

namespace sonde {
namespace {

const ModuleInfo& info() { return modules()[static_cast<std::size_t>(find_module("network"))].module->info(); }

TEST(NetworkTables, MinimalIsThePayloadOfTcpAndNothingPerPacket) {
  for (const SeriesSpec& series : info().series) {
    const bool payload = info().metrics[series.metric].name == "sonde.tcp.io";
    EXPECT_EQ(series.level == Level::Minimal, payload) << info().metrics[series.metric].name;
    EXPECT_EQ(series.flag == NETWORK_TCP_IO, payload);
  }
  for (const ProgramSpec& program : info().programs) {
    const Features host;  // in a pod older connections are found by their segments
    if ((program.flags & NETWORK_TCP_IO) && (!program.needed || program.needed(host))) {
      EXPECT_EQ(program.hook, "tp_btf/inet_sock_set_state");
    }
  }
}

TEST(NetworkTables, ErrorsShowFromTheBeginningForBothRoles) {
  std::set<std::string> seen;
  for (const SeriesSpec& series : info().series) {
    const MetricSpec& metric = info().metrics[series.metric];
    if (metric.name != "sonde.tcp.connection.errors") continue;
    EXPECT_TRUE(metric.from_zero);
    seen.insert(std::string(series.values[0]) + " " + std::string(series.values[1]));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"client refused", "client reset", "client timed_out",
                                         "client host_unreachable", "client net_unreachable", "client _OTHER",
                                         "server reset", "server timed_out", "server _OTHER"}));
}

// Names of look-ups are bounded whatever is asked, and an answer without an error has no error.type.
TEST(NetworkTables, LookupsAreNamedByTypeAndOutcome) {
  const Module& module = *modules()[static_cast<std::size_t>(find_module("network"))].module;
  const auto values = [&](uint32_t key) { return module.decode_keyed(key).values; };
  EXPECT_EQ(values(NETWORK_DNS_KEY(NETWORK_DNS_AAAA, NETWORK_DNS_ANSWERED))[0], "AAAA");
  EXPECT_TRUE(values(NETWORK_DNS_KEY(NETWORK_DNS_AAAA, NETWORK_DNS_ANSWERED))[1].empty());
  EXPECT_EQ(values(NETWORK_DNS_KEY(NETWORK_DNS_A, NETWORK_DNS_NAME_ERROR))[1], "nxdomain");
  EXPECT_EQ(values(NETWORK_DNS_KEY(NETWORK_DNS_A, NETWORK_DNS_TIMED_OUT))[1], "timed_out");
  EXPECT_EQ(values(NETWORK_DNS_KEY(4711, 99))[0], "_OTHER");
  EXPECT_EQ(values(NETWORK_DNS_KEY(4711, 99))[1], "_OTHER");
  EXPECT_EQ(values(kOtherCells)[0], "_OTHER");
}

TEST(NetworkTables, DropsOfNoNameAreNamedStill) {
  const Module& module = *modules()[static_cast<std::size_t>(find_module("network"))].module;
  EXPECT_EQ(module.decode_cell(kOtherCells).values[0], "other");
  EXPECT_EQ(module.decode_cell(0).values[0], "not_specified");
  EXPECT_EQ(module.decode_cell(0x10001).values[0], "subsystem");
}

// A program that one kernel or another does not take must not take the module with it.
TEST(NetworkTables, OnlyTheChangesOfStateAndTheFlushAreIndispensable) {
  std::set<std::string_view> indispensable;
  for (const ProgramSpec& program : info().programs) {
    if (program.gap.empty()) indispensable.insert(program.program);
  }
  // The others are asked for by name or level; without one of them the rest works.
  EXPECT_EQ(indispensable,
            (std::set<std::string_view>{"network_state", "network_retransmit", "network_begin", "network_select",
                                        "network_next_pass", "network_flush", "network_flush_files"}));
}

// A machine's /proc and cgroups in files of our own. Processes of one network have one file net/snmp, under several names.
class ConnectionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sonde-connections-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    process(1, "/init", "init", "machine", 40);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void process(uint32_t pid, const std::string& cgroup, const std::string& comm, const std::string& network,
               int count) {
    const auto proc = root_ / "proc" / std::to_string(pid);
    std::filesystem::create_directories(proc / "net");
    std::filesystem::create_directories(root_.string() + "/cgroup" + cgroup);
    std::ofstream(proc / "comm") << comm << "\n";
    const auto file = root_ / network;
    std::ofstream(file) << "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens CurrEstab InSegs\nTcp: 200 7 " << count
                        << " 99\n";
    std::filesystem::create_hard_link(file, proc / "net/snmp");
    members_[cgroup].push_back(pid);
  }
  // Second paths that were ever added to Multipath TCP connections which this process's network accepted.
  void joined(uint32_t pid, int count) {
    std::ofstream(root_ / "proc" / std::to_string(pid) / "net/netstat")
        << "TcpExt: SyncookiesSent\nTcpExt: 9\nMPTcpExt: MPCapableSYNRX MPJoinSynAckRx MPJoinAckRx\nMPTcpExt: 5 0 "
        << count << "\n";
  }
  void subject(uint32_t slot, const std::string& path, bool older, int64_t noted) {
    subjects_.push_back({slot, NETWORK_DETAIL, older, paths_.emplace_back(path)});
    noted_[slot] = noted;
  }
  int64_t settled(uint32_t slot, bool blind = false) {
    const HostTree host{root_.string() + "/cgroup", root_.string() + "/proc",
                        [this](const std::string& path) { return members_[path]; }};
    auto values = noted_;
    network::settle_connections(subjects_, NETWORK_DETAIL, host, blind,
                                [&](uint32_t one) -> int64_t& { return values[one]; });
    return values[slot];
  }

  std::filesystem::path root_;
  std::map<std::string, std::vector<uint32_t>> members_;
  std::deque<std::string> paths_;  // what the subjects refer to
  std::vector<StateSubject> subjects_;
  std::map<uint32_t, int64_t> noted_;
};

TEST_F(ConnectionsTest, OfAContainerThatIsAloneInItsNetworkAllAreItsOwn) {
  process(10, "/pod/a", "web", "pod", 12);
  process(11, "/pod/sandbox", "pause", "pod", 12);
  subject(5, "/pod/a", true, 3);
  EXPECT_EQ(settled(5), 12);
}

TEST_F(ConnectionsTest, WithMorePathsThanConnectionsNothingIsDerived) {
  process(10, "/pod/a", "web", "pod", 12);
  subject(5, "/pod/a", true, 3);
  joined(10, 0);
  EXPECT_EQ(settled(5), 12);
  joined(10, 1);
  EXPECT_EQ(settled(5), SONDE_NO_GAUGE);
  noted_[5] = 12;  // all are known, so none has a second path now
  EXPECT_EQ(settled(5), 12);
}

TEST_F(ConnectionsTest, WhatLaterContainersHaveIsTakenOff) {
  process(10, "/pod/a", "web", "pod", 12);
  process(12, "/pod/b", "sidecar", "pod", 12);
  subject(5, "/pod/a", true, 3);
  subject(6, "/pod/b", false, 4);
  EXPECT_EQ(settled(5), 8);
  EXPECT_EQ(settled(6), 4);
}

TEST_F(ConnectionsTest, OfSeveralOlderOnesTheSumMustBeKnown) {
  process(10, "/pod/a", "web", "pod", 12);
  process(12, "/pod/b", "sidecar", "pod", 12);
  subject(5, "/pod/a", true, 8);
  subject(6, "/pod/b", true, 3);
  EXPECT_EQ(settled(5), SONDE_NO_GAUGE);
  EXPECT_EQ(settled(6), SONDE_NO_GAUGE);
  noted_[6] = 4;
  EXPECT_EQ(settled(5), 8);
  EXPECT_EQ(settled(6), 4);
}

TEST_F(ConnectionsTest, BesideStrangersAndInTheMachinesNetworkNothingIsKnown) {
  process(10, "/pod/a", "web", "pod", 12);
  process(12, "/pod/b", "unmeasured", "pod", 12);
  process(13, "/host/c", "agent", "machine", 40);
  subject(5, "/pod/a", true, 12);
  subject(7, "/host/c", true, 40);
  EXPECT_EQ(settled(5), SONDE_NO_GAUGE) << "that it is the sum is chance: the stranger's are not among them";
  EXPECT_EQ(settled(7), SONDE_NO_GAUGE);
}

TEST_F(ConnectionsTest, OfProcessesThatCannotBeSeenNothingIsKnown) {
  std::filesystem::create_directories(root_.string() + "/cgroup/pod/a");
  const auto events = root_.string() + "/cgroup/pod/a/cgroup.events";
  subject(5, "/pod/a", true, 0);
  std::ofstream(events) << "populated 0\nfrozen 0\n";
  EXPECT_EQ(settled(5), 0);
  std::ofstream(events) << "populated 1\nfrozen 0\n";
  EXPECT_EQ(settled(5), SONDE_NO_GAUGE);
}

TEST_F(ConnectionsTest, WhatIsNotOlderIsAsTheKernelSideKnowsIt) {
  process(10, "/pod/a", "web", "pod", 12);
  subject(5, "/pod/a", false, 3);
  EXPECT_EQ(settled(5), 3);
}

TEST_F(ConnectionsTest, WhereTheKernelSideKnowsOfNoneTheNetworkTellsOfWhoeverIsAloneInIt) {
  process(10, "/pod/a", "web", "pod", 12);
  process(11, "/other/a", "web", "other", 3);
  process(12, "/other/b", "sidecar", "other", 3);
  process(13, "/none/a", "web", "none", 0);
  process(14, "/none/b", "sidecar", "none", 0);
  subject(5, "/pod/a", false, 0);
  subject(6, "/other/a", false, 0);
  subject(7, "/other/b", true, 0);
  subject(8, "/none/a", false, 0);
  EXPECT_EQ(settled(5, true), 12);
  EXPECT_EQ(settled(6, true), SONDE_NO_GAUGE);
  EXPECT_EQ(settled(7, true), SONDE_NO_GAUGE);
  subject(9, "/none/b", false, 0);
  EXPECT_EQ(settled(8, true), 0);
}

}  // namespace
}  // namespace sonde
