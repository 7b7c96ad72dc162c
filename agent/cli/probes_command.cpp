// SPDX-License-Identifier: Apache-2.0
// `sonde probes`: what can be measured, from the same tables that the exporters use; with a running agent also the
// state of each probe here.
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/api/http_client.h"
#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/cli/agent_answer.h"
#include "agent/cli/probes_json.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

// Of the running agent; an empty list if none runs.
Json running_modules(const std::string& address) {
  auto answer = get_from_agent(address, "/statusz", kAnswerTimeoutNs);
  if (!answer) return Json::array();
  const Json json = parse_json<Json>(*answer);
  return json.is_object() && json.contains("modules") ? json["modules"] : Json::array();
}

std::string summary_of(const Json& probe) {
  const std::string summary = probe["summary"];
  return probe["part_of"].is_null() ? summary
                                    : fmt::format("{} (part of {})", summary, probe["part_of"].get<std::string>());
}

void print_table(const Json& probes) {
  Table table({{"PROBE", false}, {"STATE", false}, {"METRICS", true}, {"NS/EVENT", true}, {"MEASURES", false}});
  for (const Json& probe : probes) {
    const Json& mean = probe["mean_ns"];
    table.add({probe["module"], probe["state"], std::to_string(probe["metrics"].size()),
               mean.is_null() ? "-" : fmt::format("{:.0f}", mean.get<double>()), summary_of(probe)});
  }
  fmt::print("{}", table.text());
  for (const Json& probe : probes) {
    fmt::print("\n{}\n", paint(Colour::Bold, probe["module"].get<std::string>()));
    Table metrics({{"METRIC", false}, {"KIND", false}, {"UNIT", false}, {"LEVEL", false}, {"ATTRIBUTES", false}});
    for (const Json& metric : probe["metrics"]) {
      std::vector<std::string> attributes;
      for (const Json& attribute : metric["attributes"]) attributes.push_back(attribute["key"]);
      metrics.add({metric["name"], metric["instrument"], metric["unit"], metric["level"], join(attributes)});
    }
    fmt::print("{}", metrics.text());
    fmt::print("needs: {}\n", probe["needs"].get<std::string>());
    for (const Json& note : probe["notes"]) fmt::print("note: {}\n", note.get<std::string>());
  }
}

}  // namespace

void add_probes_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("probes", "List all probes with their hooks, metrics and requirements");
  auto flags = add_agent_flags(*command);
  command->callback([flags, &context] {
    (void)context;
    const Json probes = probes_json(running_modules(flags->address));
    if (flags->format == "json") {
      fmt::print("{}\n", json_text(probes, 2));
    } else {
      print_table(probes);
    }
  });
}

}  // namespace sonde::cli
