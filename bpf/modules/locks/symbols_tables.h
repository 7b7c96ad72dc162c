// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// /proc/kallsyms, as far as the names of locks need it.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <istream>
#include <map>
#include <set>
#include <string>

#include "bpf/modules/locks/locks.h"

namespace sonde {

// Calls with each symbol: address, type letter, name.
template <typename Visit>
void each_symbol(std::istream& kallsyms, Visit&& visit) {
  for (std::string line; std::getline(kallsyms, line);) {
    uint64_t address = 0;
    char type = 0;
    char name[128];
    if (std::sscanf(line.c_str(), "%" SCNx64 " %c %127s", &address, &type, name) == 3)
      visit(address, type, std::string(name));
  }
}

// Code of locks: sections from one symbol to another, and functions up to the next symbol.
inline locks_bounds bounds_in(std::istream& kallsyms) {
  locks_bounds bounds{};
  const std::map<std::string, uint64_t*> wanted = {{"_sdata", &bounds.data_begin},
                                                   {"__bss_stop", &bounds.data_end},
                                                   {"__sched_text_start", &bounds.code[0][0]},
                                                   {"__sched_text_end", &bounds.code[0][1]},
                                                   {"__lock_text_start", &bounds.code[1][0]},
                                                   {"__lock_text_end", &bounds.code[1][1]},
                                                   {"native_queued_spin_lock_slowpath", &bounds.code[2][0]},
                                                   {"queued_spin_lock_slowpath", &bounds.code[3][0]},
                                                   {"queued_read_lock_slowpath", &bounds.code[4][0]},
                                                   {"queued_write_lock_slowpath", &bounds.code[5][0]}};
  std::set<uint64_t> addresses;
  each_symbol(kallsyms, [&](uint64_t address, char type, const std::string& name) {
    if (type == 't' || type == 'T') addresses.insert(address);
    if (const auto found = wanted.find(name); found != wanted.end()) *found->second = address;
  });
  for (int i = 2; i < LOCKS_CODES; ++i) {
    const auto next = addresses.upper_bound(bounds.code[i][0]);
    if (bounds.code[i][0] && next != addresses.end()) bounds.code[i][1] = *next;
  }
  if (bounds.data_end <= bounds.data_begin) bounds.data_begin = bounds.data_end = 0;
  return bounds;
}

inline locks_bounds kernel_bounds() {
  std::ifstream kallsyms("/proc/kallsyms");
  return bounds_in(kallsyms);
}

// The symbol at or before each address; where none is known a hash that stays the same while the kernel runs.
inline std::map<uint32_t, std::string> symbols_in(std::istream& kallsyms,
                                                  const std::map<uint32_t, uint64_t>& addresses) {
  constexpr uint64_t kFarthest = 1 << 20;  // beyond this the address belongs to something without a symbol
  std::map<uint64_t, std::pair<uint64_t, std::string>> best;  // address → the nearest symbol before it
  for (const auto& [hash, address] : addresses) best[address] = {0, ""};
  each_symbol(kallsyms, [&](uint64_t at, char, const std::string& name) {
    if (!at) return;
    for (auto one = best.lower_bound(at); one != best.end() && one->first - at < kFarthest; ++one) {
      if (at > one->second.first) one->second = {at, name};
    }
  });
  std::map<uint32_t, std::string> names;
  for (const auto& [hash, address] : addresses) {
    char text[32];
    std::snprintf(text, sizeof(text), "site-%07" PRIx32, hash);
    names[hash] = best[address].second.empty() ? text : best[address].second;
  }
  return names;
}

inline std::map<uint32_t, std::string> symbols_of(const std::map<uint32_t, uint64_t>& addresses) {
  std::ifstream kallsyms("/proc/kallsyms");
  return symbols_in(kallsyms, addresses);
}

}  // namespace sonde
