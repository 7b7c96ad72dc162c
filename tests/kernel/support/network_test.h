// SPDX-License-Identifier: Apache-2.0
// What tests of the network probe share: a network of their own, where nobody else's packets are, and processes in
// cgroups that wait for each other by steps.
#pragma once

#include <arpa/inet.h>
#include <linux/tcp.h>  // and not netinet/tcp.h, whose tcp_info is an old one
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "bpf/modules/network/network.h"
#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {

// What failed inside a child ends it with a code of its own: the exit status says which line.
#define NET_MUST(condition)                                          \
  do {                                                               \
    if (!(condition)) _exit(static_cast<int>(100 + __LINE__ % 100)); \
  } while (0)

inline constexpr uint8_t kNetworkMinimal = NETWORK_TCP_IO;
inline constexpr uint8_t kNetworkStandard =
    NETWORK_TCP_IO | NETWORK_CONNECTIONS | NETWORK_TROUBLE | NETWORK_RTT | NETWORK_UDP;
inline constexpr uint8_t kNetworkDetailed = kNetworkStandard | NETWORK_DETAIL | NETWORK_DNS;

// The calling thread is in a network of its own, with a loopback device that is up, as long as this lives.
class OwnNetwork {
 public:
  OwnNetwork();
  ~OwnNetwork();
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  bool ok() const { return ok_; }

 private:
  Fd before_;
  bool ok_ = false;
};

// Of the network that the caller is in: "Tcp", "RetransSegs" from /proc/self/net/snmp, "TcpExt", "ListenOverflows"
// from netstat, "Udp6", "RcvbufErrors" from snmp6. -1 if there is no such counter.
int64_t network_statistic(const std::string& group, const std::string& name);

// Memory shared by the processes of a test.
struct Steps {
  int reached[8];
  int64_t figures[16];
  void reach(int line, int step) { __atomic_store_n(&reached[line], step, __ATOMIC_RELEASE); }
  bool has_reached(int line, int step) const { return __atomic_load_n(&reached[line], __ATOMIC_ACQUIRE) >= step; }
  bool wait(int line, int step) const;  // false after a minute
  // For children: else the process ends with 96.
  void await(int line, int step) const {
    if (!wait(line, step)) _exit(96);
  }
};

sockaddr_storage loopback(int family, uint16_t port, const char* address = nullptr);
socklen_t length_of(const sockaddr_storage& address);
int listen_at(const sockaddr_storage& address, int backlog = 128);
// A connected socket, or -1.
int connect_to(const sockaddr_storage& address);
void send_all(int socket, uint64_t bytes, std::size_t chunk, int flags = 0);
// Reads until so many bytes have come or the peer has closed; how many came.
uint64_t receive(int socket, uint64_t bytes);
tcp_info info_of(int socket);

class NetworkTest : public KernelTest {
 protected:
  EngineOptions options() const override;
  void SetUp() override;
  void TearDown() override;

  Steps& steps() { return *steps_; }
  Cgroup& selected(const std::string& name, uint8_t flags);
  // Waits for a child started in a cgroup; it must end well, and before a minute and a half is over.
  static void finish(pid_t child);
  bool attached(const std::string& program);
  // Does status say this among its reasons?
  bool says(const std::string& words);
  // As the chart's pod on a kernel without iterators over maps: open connections are counted by their segments, but for the last.
  bool blind();
  // -1: the series is missing.
  int64_t active_connections(const Cgroup& box);

  int64_t tcp(const Cgroup& box, const char* direction) { return total(box, "sonde.tcp.io", {direction}); }
  int64_t udp(const Cgroup& box, const char* direction) { return total(box, "sonde.udp.io", {direction}); }
  int64_t opened(const Cgroup& box, const char* role) { return total(box, "sonde.tcp.connections.opened", {role}); }
  int64_t errors(const Cgroup& box, const char* role, const char* type) {
    return total(box, "sonde.tcp.connection.errors", {role, type});
  }
  int64_t errors(const Cgroup& box);
  uint64_t connects(const Cgroup& box) { return histogram(box, "sonde.tcp.connect.duration").count; }

 private:
  Steps* steps_ = nullptr;
};

}  // namespace sonde::test
