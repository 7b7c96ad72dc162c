/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
// Names of the kernel's reasons to drop a packet, from the BTF of the kernel that runs. Included by network.cpp alone.
#pragma once

#include <bpf/btf.h>

#include <cctype>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace sonde::network {

// SKB_DROP_REASON_NO_SOCKET → no_socket. Those of subsystems (mac80211, openvswitch) stand outside the enumeration.
inline std::map<uint32_t, std::string> read_drop_reasons() {
  constexpr std::string_view kPrefix = "SKB_DROP_REASON_";
  std::map<uint32_t, std::string> names;
  const std::unique_ptr<btf, decltype(&btf__free)> kernel(btf__load_vmlinux_btf(), btf__free);
  const int id = kernel ? btf__find_by_name_kind(kernel.get(), "skb_drop_reason", BTF_KIND_ENUM) : -1;
  if (id < 0) return names;
  const btf_type* type = btf__type_by_id(kernel.get(), static_cast<__u32>(id));
  const struct btf_enum* values = btf_enum(type);
  for (int i = 0; i < btf_vlen(type); ++i) {
    std::string_view name = btf__name_by_offset(kernel.get(), values[i].name_off);
    if (!name.starts_with(kPrefix)) continue;
    std::string small;
    for (const char c : name.substr(kPrefix.size()))
      small += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    names.emplace(static_cast<uint32_t>(values[i].val), std::move(small));
  }
  return names;
}

// The view lives as long as the program.
inline std::string_view drop_reason(uint32_t reason) {
  static const std::map<uint32_t, std::string> names = read_drop_reasons();
  const auto found = names.find(reason);
  if (found != names.end()) return found->second;
  return reason >> 16 ? "subsystem" : "not_specified";
}

}  // namespace sonde::network
