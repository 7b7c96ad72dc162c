// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The CPUs' cpufreq and cpuidle directories: the kernel keeps these figures anyway. A hook (power:cpu_idle at every idle entry)
// would cost more and show no more.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde::cpufreq {

inline constexpr const char* kCpuRoot = "/sys/devices/system/cpu";
inline constexpr int kMostCpus = 1024;
inline constexpr int kMostIdleStates = 10;  // CPUIDLE_STATE_MAX, include/linux/cpuidle.h

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
      const auto name = read_small_file(idle + "/name");
      if (!name && (cpu > 0 || state > 0)) break;
      files.push_back({CpuFile::Idle, cpu, std::string(name ? trim(*name) : "POLL"), idle + "/time"});
    }
  }
  return files;
}

}  // namespace sonde::cpufreq
