// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "agent/module/module.h"
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
    if (program.flags & NETWORK_TCP_IO) {
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
            (std::set<std::string_view>{"network_state", "network_retransmit", "network_begin", "network_flush"}));
}

}  // namespace
}  // namespace sonde
