// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/paths.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/genetlink.h>
#include <linux/mptcp.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace sonde::test {
namespace {

constexpr int kSolMptcp = 284;          // SOL_MPTCP; libc does not have it yet
constexpr uint32_t kMostHeaders = 120;  // bytes of IPv4 and TCP with all options: a longer packet carries data

std::string bytes_of(const auto& value) { return {reinterpret_cast<const char*>(&value), sizeof(value)}; }

std::string attribute(uint16_t type, const std::string& payload) {
  nlattr header{static_cast<uint16_t>(NLA_HDRLEN + payload.size()), type};
  std::string text = bytes_of(header) + payload;
  text.resize(NLA_ALIGN(text.size()));
  return text;
}

// The answer's attributes; empty after an acknowledgement. `error`: the kernel's.
std::string ask(uint16_t family, uint8_t command, uint8_t version, const std::string& attributes, int& error) {
  const Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  const genlmsghdr generic{command, version, 0};
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + sizeof(generic) + attributes.size());
  header.nlmsg_type = family;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  const std::string request = bytes_of(header) + bytes_of(generic) + attributes;
  error = EIO;
  if (send(fd.get(), request.data(), request.size(), 0) != static_cast<ssize_t>(request.size())) return {};
  std::string answer;
  for (;;) {
    std::array<char, 8192> data{};
    const ssize_t n = recv(fd.get(), data.data(), data.size(), 0);
    if (n < static_cast<ssize_t>(sizeof(nlmsghdr))) return {};
    std::memcpy(&header, data.data(), sizeof(header));
    if (header.nlmsg_type == NLMSG_ERROR) {
      nlmsgerr result{};
      std::memcpy(&result, data.data() + NLMSG_HDRLEN, sizeof(result));
      error = -result.error;
      return answer;
    }
    answer.assign(data.data() + NLMSG_HDRLEN + sizeof(generic), header.nlmsg_len - NLMSG_HDRLEN - sizeof(generic));
  }
}

// 0: the kernel has no such family.
uint16_t path_manager() {
  int error = 0;
  const std::string name(MPTCP_PM_NAME, sizeof(MPTCP_PM_NAME));
  const std::string answer = ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, attribute(CTRL_ATTR_FAMILY_NAME, name), error);
  for (std::size_t at = 0; at + sizeof(nlattr) <= answer.size();) {
    nlattr header{};
    std::memcpy(&header, answer.data() + at, sizeof(header));
    uint16_t id = 0;
    if (header.nla_type == CTRL_ATTR_FAMILY_ID) {
      std::memcpy(&id, answer.data() + at + NLA_HDRLEN, sizeof(id));
      return id;
    }
    if (header.nla_len < sizeof(header)) break;
    at += NLA_ALIGN(header.nla_len);
  }
  return 0;
}

bpf_insn insn(int code, int to, int from, int offset, int32_t number) {
  bpf_insn one{};
  one.code = static_cast<uint8_t>(code);
  one.dst_reg = static_cast<uint8_t>(to) & 15;
  one.src_reg = static_cast<uint8_t>(from) & 15;
  one.off = static_cast<int16_t>(offset);
  one.imm = number;
  return one;
}

}  // namespace

bool add_path_from(const char* address) {
  const uint16_t family = path_manager();
  if (!family) return false;
  int error = 0;
  const uint32_t none = 0, most = 2, flags = MPTCP_PM_ADDR_FLAG_SUBFLOW;
  ask(family, MPTCP_PM_CMD_SET_LIMITS, MPTCP_PM_VER,
      attribute(MPTCP_PM_ATTR_RCV_ADD_ADDRS, bytes_of(none)) + attribute(MPTCP_PM_ATTR_SUBFLOWS, bytes_of(most)),
      error);
  if (error) return false;
  in_addr v4{};
  inet_pton(AF_INET, address, &v4);
  const uint16_t inet = AF_INET;
  ask(family, MPTCP_PM_CMD_ADD_ADDR, MPTCP_PM_VER,
      attribute(NLA_F_NESTED | MPTCP_PM_ATTR_ADDR, attribute(MPTCP_PM_ADDR_ATTR_FAMILY, bytes_of(inet)) +
                                                       attribute(MPTCP_PM_ADDR_ATTR_ADDR4, bytes_of(v4)) +
                                                       attribute(MPTCP_PM_ADDR_ATTR_FLAGS, bytes_of(flags))),
      error);
  return error == 0;
}

int further_paths(int socket) {
  mptcp_info info{};
  socklen_t length = sizeof(info);
  if (getsockopt(socket, kSolMptcp, MPTCP_INFO, &info, &length) != 0) return -1;
  return info.mptcpi_subflows;
}

LossyPath::LossyPath(const Cgroup& receivers, const char* from)
    : map_(bpf_map_create(BPF_MAP_TYPE_ARRAY, "to_drop", sizeof(uint32_t), sizeof(uint64_t), 1, nullptr)) {
  in_addr v4{};
  inet_pton(AF_INET, from, &v4);
  // if (skb->len > kMostHeaders && ip->saddr == from && (int64_t)left > 0) { left--; return 0; } return 1;
  constexpr int kPass = 22;  // index of the last two
  const auto to_pass = [](int at) { return kPass - at - 1; };
  const bpf_insn program[] = {
      /* 0 */ insn(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
      /* 1 */ insn(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(__sk_buff, len), 0),
      /* 2 */ insn(BPF_JMP | BPF_JLE | BPF_K, 2, 0, to_pass(2), kMostHeaders),
      /* 3 */ insn(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(__sk_buff, data), 0),
      /* 4 */ insn(BPF_LDX | BPF_MEM | BPF_W, 3, 6, offsetof(__sk_buff, data_end), 0),
      /* 5 */ insn(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
      /* 6 */ insn(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 20),
      /* 7 */ insn(BPF_JMP | BPF_JGT | BPF_X, 4, 3, to_pass(7), 0),
      /* 8 */ insn(BPF_LDX | BPF_MEM | BPF_W, 4, 2, 12, 0),
      /* 9 */ insn(BPF_JMP32 | BPF_JNE | BPF_K, 4, 0, to_pass(9), static_cast<int32_t>(v4.s_addr)),
      /* 10 */ insn(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
      /* 11 */ insn(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
      /* 12 */ insn(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
      /* 13 */ insn(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map_.get()),
      /* 14 */ insn(0, 0, 0, 0, 0),
      /* 15 */ insn(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
      /* 16 */ insn(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, to_pass(16), 0),
      /* 17 */ insn(BPF_LDX | BPF_MEM | BPF_DW, 1, 0, 0, 0),
      /* 18 */ insn(BPF_JMP | BPF_JSLE | BPF_K, 1, 0, to_pass(18), 0),
      /* 19 */ insn(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, -1),
      /* 20 */ insn(BPF_STX | BPF_MEM | BPF_DW, 0, 1, 0, 0),
      // r0 = 0: dropped
      /* 21 */ insn(BPF_JMP | BPF_JA, 0, 0, 2, 0),
      /* 22 */ insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
      /* 23 */ insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
      /* 24 */ insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
      /* 25 */ insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = BPF_CGROUP_INET_INGRESS;
  program_ = Fd(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "lossy", "GPL", program, std::size(program), &options));
  const Fd directory(open(receivers.directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  link_ = Fd(bpf_link_create(program_.get(), directory.get(), BPF_CGROUP_INET_INGRESS, nullptr));
}

void LossyPath::drop(uint32_t packets) const {
  const uint32_t key = 0;
  const uint64_t left = packets;
  EXPECT_EQ(bpf_map_update_elem(map_.get(), &key, &left, BPF_ANY), 0);
}

uint32_t LossyPath::left() const {
  const uint32_t key = 0;
  uint64_t left = 0;
  EXPECT_EQ(bpf_map_lookup_elem(map_.get(), &key, &left), 0);
  return static_cast<uint32_t>(left);
}

}  // namespace sonde::test
