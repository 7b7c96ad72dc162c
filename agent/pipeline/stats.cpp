// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/stats.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>

#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

uint64_t count_entries(const char* path) {
  DIR* directory = ::opendir(path);
  if (!directory) return 0;
  uint64_t entries = 0;
  while (const dirent* entry = ::readdir(directory)) entries += entry->d_name[0] != '.';
  ::closedir(directory);
  return entries;
}

uint64_t number(std::string_view text) { return std::strtoull(std::string(text).c_str(), nullptr, 10); }

}  // namespace

std::string_view state_name(ModuleState state) {
  switch (state) {
    case ModuleState::Off: return "off";
    case ModuleState::Running: return "running";
    case ModuleState::Degraded: return "degraded";
    case ModuleState::Failed: return "failed";
    case ModuleState::Throttled: return "throttled";
  }
  return "unknown";
}

std::string_view discard_name(Discard reason) {
  switch (reason) {
    case Discard::NotSelected: return "not_selected";
    case Discard::NotAsked: return "not_asked";
    case Discard::UnknownSeries: return "unknown_series";
    case Discard::Count: break;
  }
  return "unknown";
}

std::string_view detour_name(Detour reason) {
  switch (reason) {
    case Detour::UnattributedSlot: return "unattributed_slot";
    case Detour::UnknownSlot: return "unknown_slot";
    case Detour::AfterEnd: return "after_end";
    case Detour::PendingFull: return "pending_full";
    case Detour::SeriesPerContainer: return "series_per_container";
    case Detour::SeriesPerNode: return "series_per_node";
    case Detour::HardLimit: return "hard_limit";
    case Detour::Count: break;
  }
  return "unknown";
}

ProcessStats read_process_stats() {
  ProcessStats stats;
  if (auto stat = read_small_file("/proc/self/stat")) {
    // The name in parentheses may hold spaces: fields are counted from the last parenthesis, which ends the second.
    const std::string_view after = std::string_view(*stat).substr(stat->rfind(')') + 1);
    const auto fields = split(trim(after), ' ');
    if (fields.size() > 17) {
      const double ticks = static_cast<double>(number(fields[11]) + number(fields[12]));  // utime, stime
      stats.cpu_seconds = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
      stats.threads = number(fields[17]);
    }
  }
  if (auto statm = read_small_file("/proc/self/statm")) {
    const auto fields = split(trim(*statm), ' ');
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    if (fields.size() > 1) {
      stats.virtual_bytes = number(fields[0]) * page;
      stats.resident_bytes = number(fields[1]) * page;
    }
  }
  stats.open_fds = count_entries("/proc/self/fd");
  return stats;
}

}  // namespace sonde
