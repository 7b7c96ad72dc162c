// SPDX-License-Identifier: Apache-2.0
// Which series a decision asks for. Hundreds of containers share a few plans.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/pipeline/catalog.h"

namespace sonde {

inline constexpr uint16_t kNoSeries = 0xffff;

struct SeriesPlan {
  std::vector<bool> asked;  // by ordinal
  // By ordinal: the asked series that a finer one, which is not asked, is part of. Before its policy is known a subject
  // counts as finely as any policy wants.
  std::vector<uint16_t> instead;
  std::vector<uint16_t> from_zero;  // ordinals that are sent as 0 from selection on
};
using SeriesPlanPtr = std::shared_ptr<const SeriesPlan>;

class SeriesPlans {
 public:
  explicit SeriesPlans(const Catalog& catalog) : catalog_(catalog) {}

  SeriesPlanPtr of(const Decision& decision);
  SeriesPlanPtr both(const SeriesPlanPtr& a, const SeriesPlanPtr& b) const;

 private:
  void find_coarser(SeriesPlan& plan) const;

  const Catalog& catalog_;
  std::map<std::string, std::weak_ptr<const SeriesPlan>> plans_;  // by what of the decision matters here
};

// Do they ask the same of the pipeline? (Two resolutions make two objects, mostly with the same content.)
bool same_for_pipeline(const Decision& a, const Decision& b);

}  // namespace sonde
