// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/probes_json.h"

#include <algorithm>
#include <string>
#include <vector>

#include "agent/cli/checks.h"
#include "agent/policy/estimate.h"
#include "agent/policy/policy.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string_view word_of(Instrument instrument) {
  switch (instrument) {
    case Instrument::Counter: return "counter";
    case Instrument::UpDownCounter: return "updowncounter";
    case Instrument::Gauge: return "gauge";
    case Instrument::Histogram: return "histogram";
  }
  return "unknown";
}

// A field of what the agent said; null without one.
Json said(const Json& object, const char* field) {
  return object.is_object() && object.contains(field) ? object[field] : Json(nullptr);
}

Json attributes_json(const ModuleInfo& info, const MetricSpec& metric) {
  const auto index = static_cast<std::size_t>(&metric - info.metrics.data());
  Json list = Json::array();
  for (std::size_t i = 0; i < metric.attributes.size(); ++i) {
    std::vector<std::string_view> values;
    for (const SeriesSpec& series : info.series) {
      if (series.metric != index || series.values[i].empty()) continue;
      if (std::ranges::find(values, series.values[i]) == values.end()) values.push_back(series.values[i]);
    }
    list.push_back(
        {{"key", metric.attributes[i].key}, {"values", values}, {"description", metric.attributes[i].values}});
  }
  return list;
}

Json metrics_json(const ModuleInfo& info) {
  Json list = Json::array();
  for (const MetricSpec& metric : info.metrics) {
    list.push_back({{"name", metric.name},
                    {"unit", metric.unit},
                    {"instrument", word_of(metric.instrument)},
                    {"level", sonde::word_of(metric.level)},
                    {"from_zero", metric.from_zero},
                    {"node", metric.node},
                    {"attributes", attributes_json(info, metric)},
                    {"description", metric.description}});
  }
  return list;
}

Json hooks_json(const ModuleInfo& info, const Json& module) {
  Json list = Json::array();
  for (const ProgramSpec& program : info.programs) {
    Json running;
    for (const Json& one : module.is_object() ? module["programs"] : Json::array()) {
      if (one["name"] == program.program) running = one;
    }
    const Json state = said(running, "state");
    const bool always = program.alternative == kEveryAlternative;
    list.push_back(
        {{"program", program.program},
         {"hook", program.hook},
         {"alternative",
          always ? Json(nullptr) : Json(info.alternatives[static_cast<std::size_t>(program.alternative)].name)},
         {"state", state},
         {"in_use", state.is_null() ? Json(nullptr) : Json(state == "attached")},
         {"reason", said(running, "reason")},
         {"estimated_ns", program_cost_ns(program)}});
  }
  return list;
}

Json probe_json(const ModuleInfo& info, const Json& module) {
  Json alternatives = Json::array();
  for (const Alternative& alternative : info.alternatives) alternatives.push_back(alternative.name);
  const Json health = said(module, "health");
  const Json reasons = said(module, "reasons");
  return {{"module", info.name},
          {"summary", info.summary},
          {"aliases", info.aliases},
          {"part_of", info.part_of.empty() ? Json(nullptr) : Json(info.part_of)},
          {"needs", info.needs},
          {"capabilities", capabilities_of(info)},
          {"state", health.is_null() ? Json("unknown") : health},
          {"alternatives", alternatives},
          {"alternative", said(module, "alternative")},
          {"reasons", reasons.is_null() ? Json::array() : reasons},
          {"mean_ns", said(module, "mean_ns")},
          {"runs_per_second", said(module, "runs_per_second")},
          {"metrics", metrics_json(info)},
          {"hooks", hooks_json(info, module)},
          {"notes", info.notes}};
}

}  // namespace

Json probes_json(const Json& running, std::span<const ModuleEntry> modules) {
  Json probes = Json::array();
  for (const ModuleEntry& entry : modules) {
    const ModuleInfo& info = entry.module->info();
    const auto found = std::ranges::find_if(running, [&](const Json& module) { return module["name"] == info.name; });
    probes.push_back(probe_json(info, found == running.end() ? Json(nullptr) : *found));
  }
  return probes;
}

}  // namespace sonde::cli
