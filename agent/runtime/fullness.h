// SPDX-License-Identifier: Apache-2.0
// Kernel maps that are nearly full: told before anything is lost.
#pragma once

#include <string>
#include <vector>

#include "agent/pipeline/stats.h"

namespace sonde {

// Finds the maps of which 80 % and more are in use, and logs each once as long as it stays full.
class Fullness {
 public:
  void note(const KernelStats& stats);
  // A sentence for each that was full at the last note, with the limit to raise. What goes in and out of such a map may have
  // made room again since.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::vector<std::string> warnings_;
  std::vector<std::string> told_;  // names of maps
};

}  // namespace sonde
