// SPDX-License-Identifier: Apache-2.0
// Work on what strangers wrote, in a process of its own that can be killed.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/result.h"

namespace sonde {

struct Confinement {
  std::chrono::milliseconds deadline{2000};
  std::size_t memory = 256 << 20;  // bytes beyond what the agent has
  std::size_t answer = 2 << 20;    // bytes that it may write
};

// Runs `work` in a child that has no capability and no user of this machine, whose only descriptors are `file` and what it
// writes to, that may make no system call but those for memory, reading and writing, and has two seconds of CPU. Returns
// what it wrote. `work` gets its own number of `file`. Error: it died or was too slow.
Result<std::string> run_confined(int file, const Confinement& limits, const std::function<std::string(int file)>& work);

// Runs `work` in a child with the agent's rights, because it opens files of other processes, which may block for ever. It
// hands over descriptors, each with what is to be told of it (some bytes), by calling `give`. Error: it was too slow; what it
// gave until then is kept.
inline constexpr std::size_t kMostTold = 256;
struct GivenFile {
  std::string told;
  Fd file;
};
using Give = std::function<void(std::string_view told, int file)>;
Result<void> run_opener(std::chrono::milliseconds deadline, std::size_t most, std::vector<GivenFile>& given,
                        const std::function<void(const Give&)>& work);

}  // namespace sonde
