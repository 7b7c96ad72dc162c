// SPDX-License-Identifier: Apache-2.0
// Kernel maps that are nearly full: told before anything is lost.
#pragma once

#include <string>
#include <vector>

#include "agent/pipeline/stats.h"

namespace sonde {

// A sentence for each map of which 80 % and more are in use, with the limit to raise. What goes in and out of such a map
// may have made room again since.
std::vector<std::string> fullness_warnings(const KernelStats& stats);

// Remembers them for the status, and logs each once as long as its map stays full.
class Fullness {
 public:
  const KernelStats& note(const KernelStats& stats);
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::vector<std::string> warnings_;
  std::vector<std::string> told_;  // names of maps
};

}  // namespace sonde
