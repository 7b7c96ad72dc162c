// SPDX-License-Identifier: Apache-2.0
// Whole small files.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde {

inline constexpr std::size_t kSmallFile = 1 << 20;

// The content; an error if it has more than `limit` bytes. Also for /proc and /sys, whose files have no size. Never
// blocks on a FIFO.
Result<std::string> read_small_file(const std::string& path, std::size_t limit = kSmallFile);

// Readers see either the old or the new content: it is written to a temporary file, synced and renamed.
Result<void> write_file_atomically(const std::string& path, std::string_view content, mode_t mode = 0644);

// The names in a directory reach the disk too: what was renamed into it is found if the machine ends right after.
Result<void> sync_directory(const std::string& directory);

}  // namespace sonde
