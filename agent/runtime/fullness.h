// SPDX-License-Identifier: Apache-2.0
// Kernel maps that are nearly full: told before anything is lost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/kube/node_report.h"
#include "agent/pipeline/stats.h"

namespace sonde {

// Finds the maps of which 80 % and more are in use, and logs each once as long as it stays full.
class Fullness {
 public:
  explicit Fullness(uint64_t now_ns) : since_ns_(now_ns) {}

  void note(const KernelStats& stats, uint64_t now_ns);  // CLOCK_REALTIME
  // A sentence for each that was full at the last note, with the limit to raise. What goes in and out of such a map may have
  // made room again since.
  const std::vector<std::string>& warnings() const { return warnings_; }
  // For the SondeNode: MapsNearlyFull, with the limits to raise and without numbers, which move all the time.
  kube::NodeCondition condition() const;

 private:
  std::vector<std::string> warnings_;
  std::vector<std::string> advice_;  // "sonde_subjects of core: raise …"
  uint64_t since_ns_;                // it is full, or is not
  std::vector<std::string> told_;    // names of maps
};

}  // namespace sonde
