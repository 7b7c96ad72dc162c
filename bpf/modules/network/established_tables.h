// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Connections of containers that are older than their selection, where the agent does not see other processes' sockets:
// the kernel counts them per network (CurrEstab of <pid>/net/snmp, which anybody may read), and a pod's containers have
// one network together. Included by network.cpp alone.
#pragma once

#include <sonde/abi.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "agent/base/file.h"
#include "agent/module/module.h"

namespace sonde::network {

struct NetworkOf {
  uint64_t id = 0;          // inode of net/snmp: another one in each network
  int64_t established = 0;  // connections in ESTABLISHED or CLOSE_WAIT
  uint32_t pid = 0;         // somebody in it
};

// Of net/snmp or net/netstat, where a line of names, "Tcp: RtoAlgorithm … CurrEstab …", is followed by one of values.
// Nothing: there is no such value.
inline std::optional<int64_t> parse_value(const std::string& table, const std::string& group,
                                          const std::string& wanted) {
  std::istringstream lines(table);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(group + ": ")) continue;
    std::istringstream words(line.substr(group.size() + 2));
    if (names.empty()) {
      for (std::string word; words >> word;) names.push_back(word);
      continue;
    }
    int64_t value = 0;
    for (const std::string& name : names) {
      if (!(words >> value)) break;
      if (name == wanted) return value;
    }
    break;
  }
  return std::nullopt;
}

// Has a Multipath TCP connection of this network ever had a second path? CurrEstab counts each path.
inline bool had_more_paths(const std::string& proc_root, uint32_t pid) {
  const auto text = read_small_file(proc_root + "/" + std::to_string(pid) + "/net/netstat");
  if (!text) return false;
  const auto is_counted = [&](const char* name) { return parse_value(*text, "MPTcpExt", name).value_or(0) > 0; };
  return is_counted("MPJoinAckRx") || is_counted("MPJoinSynAckRx");  // as a server, as a client
}

inline std::optional<NetworkOf> network_of(const std::string& proc_root, uint32_t pid) {
  const std::string path = proc_root + "/" + std::to_string(pid) + "/net/snmp";
  struct stat status {};
  if (stat(path.c_str(), &status)) return std::nullopt;
  const auto text = read_small_file(path);
  const auto established = text ? parse_value(*text, "Tcp", "CurrEstab") : std::nullopt;
  if (!established) return std::nullopt;
  return NetworkOf{status.st_ino, *established, pid};
}

// The process that holds a pod's namespaces: it has no connections.
inline bool holds_namespaces_only(const std::string& proc_root, uint32_t pid) {
  const auto comm = read_small_file(proc_root + "/" + std::to_string(pid) + "/comm");
  return comm && *comm == "pause\n";
}

// Of whoever lives in this cgroup; nothing: nobody, or it cannot be read.
inline std::optional<NetworkOf> network_of(const HostTree& machine, const std::string& path) {
  for (const uint32_t pid : machine.members(path)) {
    if (pid == 0 || holds_namespaces_only(machine.proc_root, pid)) continue;
    if (auto network = network_of(machine.proc_root, pid)) return network;
  }
  return std::nullopt;
}

// Has it processes, whether or not they can be seen from here? In a PID namespace of the agent's own, without the
// machine's /proc, cgroup.procs names nobody, and yet it is not empty.
inline bool is_populated(const HostTree& machine, const std::string& path) {
  if (!machine.members(path).empty()) return true;
  const auto events = read_small_file(machine.cgroup_root + path + "/cgroup.events");
  return events && events->find("populated 1") != std::string::npos;
}

// Siblings of this cgroup.
inline std::vector<std::string> siblings(const HostTree& machine, const std::string& path) {
  const std::string parent = path.substr(0, path.rfind('/'));
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(machine.cgroup_root + parent, error)) {
    std::string one = parent + "/" + entry.path().filename().string();
    if (entry.is_directory(error) && one != path) found.push_back(std::move(one));
  }
  return found;
}

// Who is in one network.
struct Sharers {
  int64_t established = 0;
  uint32_t pid = 0;
  int64_t noted = 0;  // connections that the kernel side knows of, of all of them
  std::vector<const StateSubject*> older;
  std::set<std::string> others;  // cgroups that are no older subjects
  bool strangers = false;        // of some of them nobody knows the connections
};

// `noted`: connections that the kernel side knows of, by slot; it is brought up to date. What cannot be known becomes
// SONDE_NO_GAUGE. `blind`: the kernel side knows of none, whoever has them.
inline void settle_connections(std::span<const StateSubject> subjects, uint8_t flag, const HostTree& machine,
                               bool blind, const std::function<int64_t&(uint32_t slot)>& noted) {
  std::map<std::string, const StateSubject*, std::less<>> by_path;
  for (const StateSubject& subject : subjects) by_path.emplace(subject.path, &subject);
  const auto is_older = [&](const StateSubject& subject) { return (blind || subject.older) && (subject.flags & flag); };
  const auto machines_own = network_of(machine.proc_root, 1);
  std::map<uint64_t, Sharers> networks;
  for (const StateSubject& subject : subjects) {
    if (!is_older(subject)) continue;
    const std::string path(subject.path);
    const auto network = network_of(machine, path);
    if (!network) {
      if (is_populated(machine, path)) noted(subject.slot) = SONDE_NO_GAUGE;
      continue;  // nobody is in it
    }
    Sharers& sharers = networks[network->id];
    sharers.established = network->established;
    sharers.pid = network->pid;
    sharers.noted += noted(subject.slot);
    sharers.older.push_back(&subject);
    sharers.strangers = sharers.strangers || !machines_own || machines_own->id == network->id;
    for (const std::string& other : siblings(machine, path)) {
      const auto known = by_path.find(other);
      if (known != by_path.end() && is_older(*known->second)) continue;
      const auto theirs = network_of(machine, other);
      if (!theirs || theirs->id != network->id || !sharers.others.insert(other).second) continue;
      if (known == by_path.end() || !(known->second->flags & flag)) {
        sharers.strangers = true;
      } else {
        sharers.noted += noted(known->second->slot);
      }
    }
  }
  for (const auto& [id, sharers] : networks) {
    const int64_t unknown = sharers.established - sharers.noted;
    if (!sharers.strangers && unknown == 0) continue;
    const bool is_derivable =
        !sharers.strangers && sharers.older.size() == 1 && !had_more_paths(machine.proc_root, sharers.pid);
    for (const StateSubject* subject : sharers.older) {
      noted(subject->slot) = is_derivable ? std::max<int64_t>(noted(subject->slot) + unknown, 0) : SONDE_NO_GAUGE;
    }
  }
}

}  // namespace sonde::network
