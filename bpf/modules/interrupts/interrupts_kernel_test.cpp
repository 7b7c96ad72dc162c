// SPDX-License-Identifier: Apache-2.0
// Interrupts of the node beside /proc/softirqs and /proc/interrupts.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "bpf/modules/interrupts/interrupts.h"
#include "tests/kernel/support/sched_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("InterruptsTest.*", Trait::Equipment);

class InterruptsTest : public SchedTest {
 protected:
  EngineOptions options() const override {
    EngineOptions both = SchedTest::options();
    both.disabled_modules.erase("interrupts");
    return both;
  }
  // Sum over the CPUs of the line that begins with this word.
  static int64_t line_of(const char* path, const std::string& word) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string first;
      words >> first;
      if (first != word + ":") continue;
      int64_t sum = 0;
      for (int64_t n; words >> n;) sum += n;
      return sum;
    }
    return 0;
  }
  // Those that have a handler: what stands under a number in /proc/interrupts.
  static int64_t handled() {
    std::ifstream file("/proc/interrupts");
    int64_t sum = 0;
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string first;
      words >> first;
      if (first.empty() || first.find_first_not_of("0123456789:") != std::string::npos) continue;
      for (int64_t n; words >> n;) sum += n;
    }
    return sum;
  }
  void select_node(uint8_t flags) {
    SlotSetting setting;
    setting.flags[module_id("interrupts")] = flags;
    engine().configure(SONDE_SLOT_NODE, setting);
    sync_programs();
  }
  int64_t node(const std::string& series) {
    collect();
    return totals_.values[SONDE_SLOT_NODE][series];
  }
  int64_t all_hard(const std::string& metric) {
    collect();
    int64_t sum = 0;
    for (const auto& [name, value] : totals_.values[SONDE_SLOT_NODE]) {
      if (name.starts_with(metric + "|hard|")) sum += value;
    }
    return sum;
  }
};

void send_to_itself(int datagrams) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  char byte = 0;
  for (int i = 0; i < datagrams; ++i) {
    ASSERT_EQ(sendto(socket, &byte, 1, 0, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 1);
    ASSERT_EQ(recv(socket, &byte, 1, 0), 1);
  }
  close(socket);
}

TEST_F(InterruptsTest, SoftInterruptsAreThoseOfTheKernelsTable) {
  select_node(INTERRUPTS_FLAG);
  const int64_t before = node("sonde.irq.count|soft|net_rx");
  const int64_t truth_before = line_of("/proc/softirqs", "NET_RX");
  send_to_itself(3000);
  const int64_t truth = line_of("/proc/softirqs", "NET_RX") - truth_before;
  const int64_t counted = node("sonde.irq.count|soft|net_rx") - before;
  EXPECT_GE(truth, 3000);
  // The kernel counts before the hook; what other programs of the machine do at the edges is in one and not in the other.
  EXPECT_GE(counted, truth * 95 / 100);
  EXPECT_LE(counted, truth * 105 / 100 + 100);
  const int64_t ns = node("sonde.irq.time|soft|net_rx");
  EXPECT_GT(ns, 3000 * 100);
  EXPECT_LT(ns / (counted + 1), 5'000'000);
}

TEST_F(InterruptsTest, HardInterruptsAreThoseOfTheKernelsTable) {
  select_node(INTERRUPTS_FLAG);
  const int64_t before = all_hard("sonde.irq.count");
  const int64_t truth_before = handled();
  const std::string path = "/tmp/sonde-interrupts-" + std::to_string(getpid());
  for (int i = 0; i < 100; ++i) {
    std::ofstream(path) << std::string(4096, 'x') << std::flush;
    sync();
  }
  unlink(path.c_str());
  const int64_t truth = handled() - truth_before;
  const int64_t counted = all_hard("sonde.irq.count") - before;
  if (truth < 20) GTEST_SKIP() << "no interrupts of a disk here";
  EXPECT_GE(counted, truth * 9 / 10);
  EXPECT_LE(counted, truth * 11 / 10 + 100);
  EXPECT_GT(all_hard("sonde.irq.time"), 0);
}

TEST_F(InterruptsTest, NobodyAskedNothingCounted) {
  auto& box = cgroup("box");
  select(box, {{"sched", kDetailed}});
  send_to_itself(100);
  collect();
  EXPECT_TRUE(totals_.values[SONDE_SLOT_NODE].empty());
  EXPECT_EQ(total(box, "sonde.irq.count", {"soft", "net_rx"}), 0);
}

}  // namespace
}  // namespace sonde::test
