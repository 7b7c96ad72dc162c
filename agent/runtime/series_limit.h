// SPDX-License-Identifier: Apache-2.0
// A policy whose seriesPerNode is in the way falls back a level, and gets it back when that has held for a while; each
// time it was in vain the wait doubles. Pure: what the pipeline said in, levels out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sonde {

class SeriesLimit {
 public:
  // After each collection: the policies in whose way the limit was. `settle_ns`: how long a lower level takes to show.
  // True if levels changed.
  bool tick(const std::vector<std::string>& limited, uint64_t now_ns, uint64_t settle_ns);

  // Policy → levels below what it asks for; none is 0.
  std::map<std::string, int> lowered() const;

 private:
  static constexpr int kMost = 2;  // from Detailed to Minimal
  static constexpr uint64_t kFirstHoldNs = 600'000'000'000;
  static constexpr uint64_t kLongestHoldNs = 7'200'000'000'000;
  struct State {
    int levels = 0;
    uint64_t settled_ns = 0;
    uint64_t raise_ns = 0;
    uint64_t hold_ns = kFirstHoldNs;
  };
  std::map<std::string, State> states_;
};

}  // namespace sonde
