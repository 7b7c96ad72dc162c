// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/catalog.h"

#include <algorithm>

#include "agent/pipeline/resource.h"

namespace sonde {
namespace {

constexpr std::size_t kMaxCells = 65536;  // keys are the kernel's: errnos, opcodes; more would be a bug there

AttributeSetPtr attributes_of(const MetricSpec& metric, const AttributeValues& values) {
  auto set = std::make_shared<AttributeSet>();
  for (std::size_t i = 0; i < metric.attributes.size() && i < values.size(); ++i) {
    if (!values[i].empty()) add_attribute(*set, std::string(metric.attributes[i].key), clean_text(values[i]));
  }
  return set;
}

SeriesKey key_of(uint64_t module, uint64_t metric, uint64_t series, uint64_t cell) {
  return module << 56 | metric << 48 | series << 32 | cell;
}

// `fine` says the same as `coarse` and more: equal wherever `coarse` has a value, and it has values beyond these.
bool finer(const AttributeValues& fine, const AttributeValues& coarse) {
  for (std::size_t i = 0; i < fine.size(); ++i) {
    if (!coarse[i].empty() && coarse[i] != fine[i]) return false;
  }
  return fine != coarse;
}

}  // namespace

AttributeSetPtr join_attributes(const AttributeSetPtr& own, const AttributeSet& extra) {
  if (extra.empty()) return own;
  auto set = std::make_shared<AttributeSet>(extra);
  for (const Attribute& attribute : *own) add_attribute(*set, attribute.key, attribute.value);
  return set;
}

Catalog::Catalog(std::span<const ModuleEntry> modules) : modules_(modules) {
  for (std::size_t m = 0; m < modules.size(); ++m) {
    const ModuleInfo& info = modules[m].module->info();
    probes_.push_back(std::make_shared<const AttributeSet>(AttributeSet{{"sonde.probe", std::string(info.name)}}));
    first_.emplace_back(static_cast<int>(series_.size()), static_cast<int>(info.series.size()));
    for (std::size_t s = 0; s < info.series.size(); ++s) {
      const SeriesSpec& spec = info.series[s];
      const MetricSpec& metric = info.metrics[spec.metric];
      series_.push_back({&metric, attributes_of(metric, spec.values), spec.scale, static_cast<uint16_t>(m),
                         static_cast<uint16_t>(s), spec.metric, spec.source, key_of(m, spec.metric, s, 0)});
    }
  }
  auto overflow = std::make_shared<AttributeSet>();
  overflow->push_back({"otel.metric.overflow", true});
  overflow_ = overflow;
}

Located Catalog::locate(int ordinal, SeriesId id) {
  const CatalogSeries& series = series_[ordinal];
  if (is_keyed(series.source)) return locate_cell(ordinal, id);
  return {static_cast<uint16_t>(ordinal), series.key, series.attributes};
}

Located Catalog::locate_cell(int ordinal, SeriesId id) {
  if (cells_.size() >= kMaxCells) id.cell = 0;
  const uint64_t name = uint64_t{id.module} << 48 | uint64_t{id.series} << 32 | id.cell;
  if (auto found = cells_.find(name); found != cells_.end()) return found->second;

  const ModuleInfo& info = module(id.module);
  const Module& decoder = *modules_[id.module].module;
  const Source source = series_[ordinal].source;
  const uint32_t cell_key = id.cell ? id.cell - 1 : kOtherCells;
  const CellSeries cell = source == Source::Cells            ? decoder.decode_cell(cell_key)
                          : source == Source::KeyedHistogram ? decoder.decode_keyed(cell_key)
                                                             : decoder.decode_read(cell_key);
  Located located{static_cast<uint16_t>(ordinal), 0, nullptr};
  if (cell.metric < info.metrics.size() && cell.metric != series_[ordinal].metric_index) {
    // One row of cells may feed several metrics: the series of the decoded one says scale and level.
    const auto [begin, count] = first_[id.module];
    for (int other = begin; other < begin + count; ++other) {
      if (series_[other].source == source && series_[other].metric_index == cell.metric) {
        located.ordinal = static_cast<uint16_t>(other);
      }
    }
  }
  const CatalogSeries& series = series_[located.ordinal];
  located.key = key_of(id.module, series.metric_index, series.series, id.cell);
  // Several keys may have one name (_OTHER): they are one series.
  std::string values;
  for (const std::string_view value : cell.values) values.append(value).push_back('\0');
  const auto [same, fresh] = named_cells_.try_emplace({located.ordinal, std::move(values)}, located);
  if (fresh) same->second.attributes = attributes_of(*series.metric, cell.values);
  located = same->second;
  cells_.emplace(name, located);
  return located;
}

SeriesKey Catalog::overflow_key(uint16_t ordinal) const {
  const CatalogSeries& series = series_[ordinal];
  return key_of(series.module, series.metric_index, kOverflowSeries, 0);
}

const SeriesSpec& Catalog::spec(std::size_t ordinal) const {
  return module(series_[ordinal].module).series[series_[ordinal].series];
}

bool Catalog::refines(std::size_t fine, std::size_t coarse) const {
  const CatalogSeries& a = series_[fine];
  const CatalogSeries& b = series_[coarse];
  return a.metric == b.metric && a.source == b.source && !is_keyed(a.source) &&
         finer(spec(fine).values, spec(coarse).values);
}

bool Catalog::asked(std::size_t ordinal, const Decision& decision) const {
  const CatalogSeries& series = series_[ordinal];
  if (series.module >= decision.probes.size()) return false;
  const ProbeDecision& probe = decision.probes[series.module];
  const ModuleInfo& info = module(series.module);
  const SeriesSpec& own = spec(ordinal);
  if (!exports(probe, info, own)) return false;
  if (is_keyed(own.source)) return true;
  if (covered(probe, info, own)) return false;
  return std::ranges::none_of(info.series, [&](const SeriesSpec& other) {
    return other.metric == own.metric && !is_keyed(other.source) && other.level > own.level &&
           exports(probe, info, other) && finer(other.values, own.values);
  });
}

}  // namespace sonde
