// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What sched reads from files, because the kernel keeps it anyway: a cgroup's cpu.stat (CFS bandwidth), the CPUs' cpufreq and
// cpuidle directories. The hooks (power:cpu_idle at every idle entry) would cost more and say no more.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/fd.h"

namespace sonde::sched {

inline constexpr const char* kCpuRoot = "/sys/devices/system/cpu";
inline constexpr int kMostCpus = 1024;
inline constexpr int kMostIdleStates = 10;  // CPUIDLE_STATE_MAX, include/linux/cpuidle.h

// A small file, at most one page.
inline std::optional<std::string> read_small(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::array<char, 4096> text{};
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got < 0) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(got));
}

inline std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// The value behind a key of a flat-keyed cgroup file ("nr_periods 12\n…").
inline std::optional<uint64_t> value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
      return number(line.substr(key.size() + 1));
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return std::nullopt;
}

// One value of one CPU.
struct CpuFile {
  enum Kind : uint8_t { Frequency, Changes, Idle };
  Kind kind = Frequency;
  int cpu = 0;
  std::string state{};  // of Idle: its name, C1
  std::string path{};
};

// What there is to read on this machine. One file of each kind is named even where it is not: the tables want every metric.
inline std::vector<CpuFile> cpu_files(const std::string& root = kCpuRoot) {
  std::vector<CpuFile> files;
  for (int cpu = 0; cpu < kMostCpus; ++cpu) {
    const std::string directory = root + "/cpu" + std::to_string(cpu);
    if (cpu > 0 && ::access(directory.c_str(), F_OK) != 0) break;
    const std::string frequency = directory + "/cpufreq/scaling_cur_freq";
    if (cpu == 0 || ::access(frequency.c_str(), F_OK) == 0) files.push_back({CpuFile::Frequency, cpu, {}, frequency});
    const std::string changes = directory + "/cpufreq/stats/total_trans";
    if (cpu == 0 || ::access(changes.c_str(), F_OK) == 0) files.push_back({CpuFile::Changes, cpu, {}, changes});
    for (int state = 0; state < kMostIdleStates; ++state) {
      const std::string idle = directory + "/cpuidle/state" + std::to_string(state);
      auto name = read_small(idle + "/name");
      if (!name && cpu == 0 && state == 0) name = "POLL";
      if (!name) break;
      while (!name->empty() && std::isspace(static_cast<unsigned char>(name->back()))) name->pop_back();
      files.push_back({CpuFile::Idle, cpu, *name, idle + "/time"});
    }
  }
  return files;
}

}  // namespace sonde::sched
