// SPDX-License-Identifier: Apache-2.0
// `sonde probes`: what can be measured, from the same tables that the exporters use; beside a running agent also the
// state of each probe here.
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/api/http_client.h"
#include "agent/base/text.h"
#include "agent/cli/agent_answer.h"
#include "agent/cli/terminal.h"
#include "agent/module/module.h"
#include "agent/policy/estimate.h"
#include "agent/policy/policy.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr uint64_t kTimeoutNs = 1'000'000'000;

std::string_view instrument_word(Instrument instrument) {
  switch (instrument) {
    case Instrument::Counter: return "counter";
    case Instrument::UpDownCounter: return "updowncounter";
    case Instrument::Gauge: return "gauge";
    case Instrument::Histogram: return "histogram";
  }
  return "unknown";
}

Json metric_json(const MetricSpec& metric) {
  Json attributes = Json::object();
  for (const AttributeSpec& attribute : metric.attributes) attributes[std::string(attribute.key)] = attribute.values;
  return {{"name", metric.name},           {"unit", metric.unit},
          {"instrument", instrument_word(metric.instrument)}, {"level", word_of(metric.level)},
          {"attributes", attributes},      {"node", metric.node},
          {"description", metric.description}};
}

Json module_json(const ModuleInfo& info, const Json& status) {
  Json metrics = Json::array();
  for (const MetricSpec& metric : info.metrics) metrics.push_back(metric_json(metric));
  Json hooks = Json::array();
  for (const ProgramSpec& program : info.programs) {
    Json hook{{"program", program.program}, {"hook", program.hook}};
    if (program.alternative != kEveryAlternative) {
      hook["alternative"] = info.alternatives[static_cast<std::size_t>(program.alternative)].name;
    }
    hook["estimated_ns"] = program_cost_ns(program);
    hooks.push_back(std::move(hook));
  }
  Json json{{"module", info.name}, {"summary", info.summary}, {"aliases", info.aliases}, {"needs", info.needs},
            {"metrics", metrics},  {"hooks", hooks},          {"notes", info.notes}};
  json["state"] = "unknown";  // no agent runs
  for (const Json& module : status) {
    if (module["name"] != info.name) continue;
    json["state"] = module["health"];
    json["alternative"] = module.value("alternative", "");
    json["reasons"] = module["reasons"];
    json["mean_ns"] = module.value("mean_ns", 0.0);
    json["programs"] = module["programs"];
  }
  return json;
}

// Of the running agent; an empty list if none runs.
Json running_modules(const std::string& address) {
  auto answer = get_from_agent(address, "/statusz", kTimeoutNs);
  if (!answer) return Json::array();
  const Json json = Json::parse(*answer, nullptr, false);
  return json.is_object() && json.contains("modules") ? json["modules"] : Json::array();
}

void print_table(const Json& probes) {
  Table table({{"PROBE", false}, {"STATE", false}, {"METRICS", true}, {"MEASURES", false}});
  for (const Json& probe : probes) {
    table.add({probe["module"], probe["state"], std::to_string(probe["metrics"].size()), probe["summary"]});
  }
  fmt::print("{}", table.text());
  for (const Json& probe : probes) {
    fmt::print("\n{}\n", paint(Colour::Bold, probe["module"].get<std::string>()));
    Table metrics({{"METRIC", false}, {"KIND", false}, {"UNIT", false}, {"LEVEL", false}, {"ATTRIBUTES", false}});
    for (const Json& metric : probe["metrics"]) {
      std::vector<std::string> attributes;
      for (const auto& [key, values] : metric["attributes"].items()) attributes.push_back(key);
      metrics.add({metric["name"], metric["instrument"], metric["unit"], metric["level"], join(attributes)});
    }
    fmt::print("{}", metrics.text());
    fmt::print("needs: {}\n", probe["needs"].get<std::string>());
    for (const Json& note : probe["notes"]) fmt::print("note: {}\n", note.get<std::string>());
  }
}

}  // namespace

void add_probes_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("probes", "What can be measured, by which hooks, and what each needs");
  auto flags = add_agent_flags(*command);
  command->callback([flags, &context] {
    (void)context;
    const Json status = running_modules(flags->address);
    Json probes = Json::array();
    for (const ModuleEntry& entry : modules()) probes.push_back(module_json(entry.module->info(), status));
    if (flags->format == "json") {
      fmt::print("{}\n", probes.dump(2));
    } else {
      print_table(probes);
    }
  });
}

}  // namespace sonde::cli
