// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/network_test.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "agent/base/clock.h"
#include "tests/kernel/support/pod.h"

namespace sonde::test {

OwnNetwork::OwnNetwork() : before_(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
  if (!before_ || unshare(CLONE_NEWNET)) return;
  const Fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ok_ = ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
}

OwnNetwork::~OwnNetwork() {
  if (before_ && setns(before_.get(), CLONE_NEWNET)) std::abort();  // nothing after this would be right
}

int64_t network_statistic(const std::string& group, const std::string& name) {
  std::ifstream v6("/proc/self/net/snmp6");  // one to a line, group and name in one word
  for (std::string key, number; v6 >> key >> number;) {
    if (key == group + name) return std::stoll(number);
  }
  for (const char* path : {"/proc/self/net/snmp", "/proc/self/net/netstat"}) {
    std::ifstream file(path);
    for (std::string names, values; std::getline(file, names) && std::getline(file, values);) {
      if (!names.starts_with(group + ":")) continue;
      std::istringstream keys(names), numbers(values);
      for (std::string key, number; keys >> key && numbers >> number;) {
        if (key == name) return std::stoll(number);
      }
    }
  }
  return -1;
}

bool Steps::wait(int line, int step) const {
  for (int i = 0; i < 60'000; ++i) {
    if (has_reached(line, step)) return true;
    usleep(1000);
  }
  return false;
}

sockaddr_storage loopback(int family, uint16_t port, const char* address) {
  sockaddr_storage storage{};
  storage.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_port = htons(port);
    inet_pton(AF_INET, address ? address : "127.0.0.1", &v4->sin_addr);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_port = htons(port);
    inet_pton(AF_INET6, address ? address : "::1", &v6->sin6_addr);
  }
  return storage;
}

socklen_t length_of(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

int listen_at(const sockaddr_storage& address, int backlog) {
  const int fd = socket(address.ss_family, SOCK_STREAM, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), length_of(address)) || listen(fd, backlog))
    return -1;
  return fd;
}

int connect_to(const sockaddr_storage& address) {
  const int fd = socket(address.ss_family, SOCK_STREAM, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), length_of(address)) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

void send_all(int socket, uint64_t bytes, std::size_t chunk, int flags) {
  const std::string data(chunk, 'x');
  while (bytes) {
    const ssize_t n = send(socket, data.data(), std::min<uint64_t>(bytes, chunk), flags);
    NET_MUST(n > 0);
    bytes -= static_cast<uint64_t>(n);
  }
}

uint64_t receive(int socket, uint64_t bytes) {
  std::string data(65536, 0);
  uint64_t got = 0;
  while (got < bytes) {
    const ssize_t n = recv(socket, data.data(), std::min<uint64_t>(bytes - got, data.size()), 0);
    NET_MUST(n >= 0);
    if (n == 0) break;
    got += static_cast<uint64_t>(n);
  }
  return got;
}

tcp_info info_of(int socket) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  NET_MUST(getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return info;
}

EngineOptions NetworkTest::options() const {
  EngineOptions options;
  for (const ModuleEntry& entry : modules()) {
    if (entry.module->info().name != "network") options.disabled_modules.emplace(entry.module->info().name);
  }
  return options;
}

void NetworkTest::SetUp() {
  KernelTest::SetUp();
  void* memory = mmap(nullptr, sizeof(Steps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  steps_ = static_cast<Steps*>(memory);
}

void NetworkTest::TearDown() {
  if (!IsSkipped()) {
    EXPECT_EQ(losses("network"), 0U);
  }
  if (steps_) munmap(steps_, sizeof(Steps));
  KernelTest::TearDown();
}

Cgroup& NetworkTest::selected(const std::string& name, uint8_t flags) {
  Cgroup& box = cgroup(name);
  select(box, {{"network", flags}});
  return box;
}

void NetworkTest::finish(pid_t child) {
  int status = -1;
  pid_t ended = 0;
  for (int i = 0; i < 90'000 && ended == 0; ++i) {  // the other side may have failed, then it waits for nothing
    ended = waitpid(child, &status, WNOHANG);
    if (ended == 0) usleep(1000);
  }
  if (ended == 0) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

bool NetworkTest::attached(const std::string& program) {
  const auto modules = engine().modules();  // by value: a loop over a part of it would outlive it
  for (const ProgramReport& report : modules[module_id("network")].programs) {
    if (report.name == program) return report.state == ProgramState::Attached;
  }
  return false;
}

bool NetworkTest::says(const std::string& words) {
  watch_programs(boottime_ns());
  const ModuleReport report = engine().modules()[module_id("network")];
  return std::ranges::any_of(report.reasons, [&](const std::string& reason) { return reason.find(words) != std::string::npos; });
}

bool NetworkTest::blind() {
  const Features& features = engine().features();
  const bool named = !features.map_iterators && !features.first_pid_namespace;
  EXPECT_EQ(says("the last segment of a connection that stays open"), named);
  return named && Pod::wanted();
}

int64_t NetworkTest::active_connections(const Cgroup& box) {
  const auto& values = totals_.values[slot_of(box)];
  const auto found = values.find("sonde.tcp.active_connections");
  return found == values.end() ? -1 : found->second;
}

int64_t NetworkTest::errors(const Cgroup& box) {
  int64_t sum = 0;
  for (const auto& [name, value] : totals_.values[slot_of(box)]) {
    if (name.starts_with("sonde.tcp.connection.errors")) sum += value;
  }
  return sum;
}

}  // namespace sonde::test
