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

struct SeriesPlan {
  std::vector<bool> asked;           // by ordinal
  std::vector<uint16_t> from_zero;   // ordinals that are sent as 0 from selection on
};
using SeriesPlanPtr = std::shared_ptr<const SeriesPlan>;

class SeriesPlans {
 public:
  explicit SeriesPlans(const Catalog& catalog) : catalog_(catalog) {}

  SeriesPlanPtr of(const Decision& decision);
  SeriesPlanPtr both(const SeriesPlanPtr& a, const SeriesPlanPtr& b) const;

 private:
  const Catalog& catalog_;
  std::map<std::string, std::weak_ptr<const SeriesPlan>> plans_;  // by what of the decision matters here
};

// Do they ask the same of the pipeline? (Two resolutions make two objects, mostly with the same content.)
bool same_for_pipeline(const Decision& a, const Decision& b);

}  // namespace sonde
