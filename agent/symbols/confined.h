// SPDX-License-Identifier: Apache-2.0
// Runs work on untrusted input in a separate process that can be killed.
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
  std::size_t memory = 256 << 20;  // bytes in addition to the agent's
  std::size_t answer = 2 << 20;    // maximum size of the answer
};

// Runs `work` in a child without capabilities and with an unused user id, whose only descriptors are `file` and its
// output, limited to system calls for memory, reading and writing, and to two seconds of CPU. Returns
// its output. `work` gets the child's descriptor of `file`. Error: it died or timed out.
Result<std::string> run_confined(int file, const Confinement& limits, const std::function<std::string(int file)>& work);

// Runs `work` in a child with the agent's rights, because it opens files of other processes, which may block forever. It
// passes descriptors, each with some bytes of information, by calling `give`. Error: it timed out; what it
// passed until then is kept.
inline constexpr std::size_t kMostTold = 256;
struct GivenFile {
  std::string told;
  Fd file;
};
using Give = std::function<void(std::string_view told, int file)>;
Result<void> run_opener(std::chrono::milliseconds deadline, std::size_t most, std::vector<GivenFile>& given,
                        const std::function<void(const Give&)>& work);

}  // namespace sonde
