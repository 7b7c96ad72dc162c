// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/series_plan.h"

#include <algorithm>

namespace sonde {
namespace {

constexpr std::size_t kMaxRemembered = 256;

bool same_probe(const ProbeDecision& a, const ProbeDecision& b) {
  return a.level == b.level && a.metrics == b.metrics && a.sample_every == b.sample_every;
}

}  // namespace

SeriesPlanPtr SeriesPlans::of(const Decision& decision) {
  std::string name;
  for (const ProbeDecision& probe : decision.probes) {
    name.push_back(static_cast<char>(probe.level));
    name.append(reinterpret_cast<const char*>(&probe.metrics), sizeof(probe.metrics));
  }
  if (auto found = plans_.find(name); found != plans_.end()) {
    if (SeriesPlanPtr plan = found->second.lock()) return plan;
  }
  auto plan = std::make_shared<SeriesPlan>();
  plan->asked.resize(catalog_.size());
  for (std::size_t i = 0; i < catalog_.size(); ++i) {
    const CatalogSeries& series = catalog_[i];
    plan->asked[i] = catalog_.asked(i, decision);
    if (!plan->asked[i] || !series.metric->from_zero || series.metric->node) continue;
    if (is_keyed(series.source) || is_state(*series.metric, series.source)) continue;
    plan->from_zero.push_back(static_cast<uint16_t>(i));
  }
  find_coarser(*plan);
  if (plans_.size() >= kMaxRemembered) std::erase_if(plans_, [](const auto& entry) { return entry.second.expired(); });
  if (plans_.size() < kMaxRemembered) plans_[name] = plan;
  return plan;
}

void SeriesPlans::find_coarser(SeriesPlan& plan) const {
  plan.instead.assign(catalog_.size(), kNoSeries);
  for (std::size_t i = 0; i < catalog_.size(); ++i) {
    for (std::size_t j = 0; j < catalog_.size() && !plan.asked[i]; ++j) {
      if (plan.asked[j] && catalog_.refines(i, j)) plan.instead[i] = static_cast<uint16_t>(j);
    }
  }
}

SeriesPlanPtr SeriesPlans::both(const SeriesPlanPtr& a, const SeriesPlanPtr& b) const {
  if (a == b || !b) return a;
  if (!a) return b;
  auto plan = std::make_shared<SeriesPlan>(*a);
  for (std::size_t i = 0; i < plan->asked.size(); ++i) plan->asked[i] = a->asked[i] || b->asked[i];
  find_coarser(*plan);
  plan->from_zero.clear();
  std::ranges::set_union(a->from_zero, b->from_zero, std::back_inserter(plan->from_zero));
  return plan;
}

bool same_for_pipeline(const Decision& a, const Decision& b) {
  return a.selected == b.selected && a.period_ms == b.period_ms && a.granularity == b.granularity &&
         a.series_per_container == b.series_per_container && a.series_per_node == b.series_per_node &&
         a.pod_labels == b.pod_labels && a.pod_annotations == b.pod_annotations &&
         std::ranges::equal(a.probes, b.probes, same_probe);
}

}  // namespace sonde
