// SPDX-License-Identifier: Apache-2.0
// The series of all modules in one numbered list, with what their points need worked out once.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/module/module.h"
#include "agent/module/sample.h"
#include "agent/pipeline/batch.h"
#include "agent/policy/decision.h"

namespace sonde {

// Sorts by module, metric, series, cell: points of one metric stand together.
using SeriesKey = uint64_t;
inline constexpr uint32_t kOverflowSeries = 0xffff;

struct CatalogSeries {
  const MetricSpec* metric = nullptr;
  AttributeSetPtr attributes;  // of the series itself; of no use for cells
  double scale = 1.0;
  uint16_t module = 0;
  uint16_t series = 0;
  uint8_t metric_index = 0;
  Source source = Source::Counter;
  SeriesKey key = 0;
};

// A series, cell included.
struct Located {
  uint16_t ordinal = 0;
  SeriesKey key = 0;
  AttributeSetPtr attributes;
};

class Catalog {
 public:
  explicit Catalog(std::span<const ModuleEntry> modules);

  std::size_t size() const { return series_.size(); }
  const CatalogSeries& operator[](std::size_t ordinal) const { return series_[ordinal]; }
  const ModuleInfo& module(std::size_t index) const { return modules_[index].module->info(); }
  std::size_t modules() const { return modules_.size(); }
  // {sonde.probe: its name}
  const AttributeSetPtr& probe(std::size_t module) const { return probes_[module]; }

  // Number of the series; -1 if no module has it.
  int ordinal(SeriesId id) const {
    if (id.module >= first_.size()) return -1;
    const auto& [begin, count] = first_[id.module];
    return id.series < count ? begin + id.series : -1;
  }

  // Attribute values of a cell are asked of the module once.
  Located locate(int ordinal, SeriesId id);

  // Where samples of this series' metric go that may not have a series of their own.
  SeriesKey overflow_key(uint16_t ordinal) const;
  const AttributeSetPtr& overflow() const { return overflow_; }

  // Does the decision ask for this series? Of series that say the same more or less finely only the finest is.
  bool asked(std::size_t ordinal, const Decision& decision) const;

  // Does the first series say the same as the second, and more?
  bool refines(std::size_t fine, std::size_t coarse) const;

 private:
  const SeriesSpec& spec(std::size_t ordinal) const;
  Located locate_cell(int ordinal, SeriesId id);

  std::span<const ModuleEntry> modules_;
  std::vector<CatalogSeries> series_;
  std::vector<std::pair<int, int>> first_;       // by module: ordinal of its first series, number of its series
  std::unordered_map<uint64_t, Located> cells_;  // by module, series, cell
  std::map<std::pair<uint16_t, std::string>, Located> named_cells_;  // by ordinal and attribute values
  AttributeSetPtr overflow_;
  std::vector<AttributeSetPtr> probes_;
};

// Attributes of both, sorted.
AttributeSetPtr join_attributes(const AttributeSetPtr& own, const AttributeSet& extra);

}  // namespace sonde
