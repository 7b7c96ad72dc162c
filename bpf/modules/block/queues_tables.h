// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How many requests the disks of the machine are working at: /sys/block/<disk>/inflight, of disks that work themselves (as
// is_stacked() in request.bpf.h has it). Included by block.cpp and tests alone.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/module/intern.h"
#include "agent/module/module.h"

namespace sonde {

inline constexpr std::size_t kMostQueues = 64;  // names of disks; the others together are one more

// "       3        1\n", reads and writes (discards among these), added up.
inline std::optional<int64_t> parse_inflight(std::string_view text) {
  int64_t sum = 0;
  for (int i = 0; i < 2; ++i) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    sum += std::max<int64_t>(number, 0);
  }
  return sum;
}

// Any thread.
class BlockQueues {
 public:
  explicit BlockQueues(std::string directory = "/sys/block") : directory_(std::move(directory)) {}

  Result<void> read(SubjectFiles& files, std::vector<KeyedState>& states) {
    const std::unique_ptr<DIR, int (*)(DIR*)> all(opendir(directory_.c_str()), closedir);
    if (!all) return Error::system("cannot list " + directory_, errno);
    int64_t others = 0;
    bool any_other = false;
    while (const dirent* entry = readdir(all.get())) {
      const std::string_view disk = entry->d_name;
      if (disk.starts_with('.') || !is_leaf(disk)) continue;
      std::array<char, 64> text{};
      const ssize_t size = files.read(directory_ + "/" + std::string(disk) + "/inflight", text);
      const auto depth = parse_inflight({text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))});
      if (!depth) continue;  // pulled out meanwhile
      if (const auto key = key_of(disk)) {
        states.push_back({*key, *depth});
      } else {
        others += *depth;
        any_other = true;
      }
    }
    if (any_other) states.push_back({kOtherCells, others});
    return {};
  }

  std::string_view name(uint32_t key) {
    const std::lock_guard lock(mutex_);
    return key < names_.size() ? names_[key] : "_OTHER";
  }

 private:
  // Disks that take requests (not zram, nor NVMe multipath's head) and do not hand them on to others.
  bool is_leaf(std::string_view disk) const {
    for (const std::string_view stacked : {"loop", "md", "dm-"}) {
      if (disk.starts_with(stacked)) return false;
    }
    return access((directory_ + "/" + std::string(disk) + "/mq").c_str(), F_OK) == 0;
  }

  std::optional<uint32_t> key_of(std::string_view disk) {
    const std::lock_guard lock(mutex_);
    const auto known = std::ranges::find(names_, disk);
    if (known != names_.end()) return static_cast<uint32_t>(known - names_.begin());
    if (names_.size() >= kMostQueues) return std::nullopt;
    names_.push_back(intern(disk));
    return static_cast<uint32_t>(names_.size() - 1);
  }

  const std::string directory_;
  std::mutex mutex_;
  std::vector<std::string_view> names_;
};

}  // namespace sonde
