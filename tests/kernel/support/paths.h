// SPDX-License-Identifier: Apache-2.0
// Several paths below one Multipath TCP connection, in the network of the calling thread, and a path that loses packets.
#pragma once

#include <cstdint>

#include "agent/base/fd.h"
#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {

// Clients open a second subflow from this IPv4 address of the machine. False if the kernel refuses.
bool add_path_from(const char* address);

// Subflows beyond the first, by MPTCP_INFO; -1 if it is no such connection.
int further_paths(int socket);

// Drops packets from one IPv4 address on their way to the sockets of a cgroup, as many as it is told, those that carry data only.
class LossyPath {
 public:
  LossyPath(const Cgroup& receivers, const char* from);
  bool ok() const { return static_cast<bool>(link_); }
  void drop(uint32_t packets) const;
  uint32_t left() const;  // of those to be dropped

 private:
  Fd map_, program_, link_;
};

}  // namespace sonde::test
