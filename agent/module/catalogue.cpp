// SPDX-License-Identifier: Apache-2.0
#include "agent/module/catalogue.h"

#include "agent/module/module.h"

namespace sonde {
namespace {

constexpr const char* kIntroduction =
    "# Metrics\n\n"
    "Generated from the probes' tables by `make generate`; a test checks that it is up to date. Do not edit.\n\n"
    "The preset of a policy, or the level of a probe, enables all metrics up to that level: Minimal, Standard (the\n"
    "default), Detailed. Opt-in metrics must be requested by name (`includeMetrics`). Metrics marked \"node\" describe the\n"
    "whole node. Histograms are base-2 exponential with scale 2. A series is exported from its first change on; series\n"
    "marked \"from 0\" are exported as soon as a container is selected. The tables list all possible attribute values.\n";

const char* level_text(Level level) {
  switch (level) {
    case Level::None: return "-";
    case Level::Minimal: return "Minimal";
    case Level::Standard: return "Standard";
    case Level::Detailed: return "Detailed";
    case Level::OptIn: return "opt-in";
  }
  return "-";
}

const char* kind_text(const MetricSpec& metric) {
  switch (metric.instrument) {
    case Instrument::Counter: return "counter";
    case Instrument::UpDownCounter: return "up-down counter";
    case Instrument::Gauge: return "gauge";
    case Instrument::Histogram: return "histogram";
  }
  return "-";
}

std::string attributes_text(const MetricSpec& metric) {
  std::string text;
  for (const AttributeSpec& attribute : metric.attributes) {
    text += (text.empty() ? "" : "; ") + ("`" + std::string(attribute.key) + "`: " + std::string(attribute.values));
  }
  return text.empty() ? "-" : text;
}

std::string metric_row(const MetricSpec& metric) {
  return "| `" + std::string(metric.name) + "` | " + kind_text(metric) + " | " + std::string(metric.unit) + " | " +
         level_text(metric.level) + (metric.from_zero ? ", from 0" : "") + (metric.node ? ", node" : "") + " | " +
         attributes_text(metric) + " | " + std::string(metric.description) + " |\n";
}

std::string module_section(const ModuleInfo& info) {
  const std::string name(info.name);
  std::string text = "\n## " + name + "\n" + std::string(info.summary) + " ([more](../../bpf/modules/" + name +
                     "/README.md))\n" +
                     (info.part_of.empty()
                          ? ""
                          : "Part of `" + std::string(info.part_of) + "`: where that is named, this is meant too.\n") +
                     "\n| metric | kind | unit | level | attributes | description |\n|---|---|---|---|---|---|\n";
  for (const MetricSpec& metric : info.metrics) text += metric_row(metric);
  text += info.programs.empty() ? "\nNo hooks: read from files at each collection.\n" : "\nHooks:";
  for (const ProgramSpec& program : info.programs) {
    text += " `" + std::string(program.hook) + "`";
    if (program.alternative != kEveryAlternative) {
      text += " (" + std::string(info.alternatives[static_cast<std::size_t>(program.alternative)].name) + ")";
    }
    text += &program == &info.programs.back() ? ".\n" : ",";
  }
  text += "Needs: " + std::string(info.needs) + "\n";
  for (const std::string_view note : info.notes) text += "- " + std::string(note) + "\n";
  return text;
}

}  // namespace

std::string metrics_markdown() {
  std::string text = kIntroduction;
  for (const ModuleEntry& entry : modules()) text += module_section(entry.module->info());
  return text;
}

}  // namespace sonde
