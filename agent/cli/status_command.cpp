// SPDX-License-Identifier: Apache-2.0
// `sonde status`: what the running agent says about itself.
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/cli/agent_answer.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

Colour colour_of(const std::string& health) {
  if (health == "ok") return Colour::None;
  return health == "degraded" ? Colour::Yellow : Colour::Red;
}

bool reasons_name(const Json& reasons, const std::string& program) {
  for (const Json& reason : reasons) {
    if (reason.get<std::string>().find(program) != std::string::npos) return true;
  }
  return false;
}

void print_modules(const Json& modules) {
  Table table({{"PROBE", false},
               {"HEALTH", false},
               {"BY", false},
               {"PROGRAMS", true},
               {"RUNS/S", true},
               {"MEAN", true},
               {"LOST", true}});
  std::vector<std::string> troubles;
  for (const Json& module : modules) {
    if (module["name"] == "core" && module["losses"].empty()) continue;
    const auto [attached, failed] = count_programs(module);
    uint64_t lost = 0;
    for (const Json& n : module["losses"]) lost += n.get<uint64_t>();
    const std::string name = module["name"];
    const std::string health = module["health"];
    const double mean = module.value("mean_ns", 0.0);
    table.add({name, health, module.value("alternative", ""),
               std::to_string(attached) + (failed ? " of " + std::to_string(attached + failed) : ""),
               count_text(module.value("runs_per_second", 0.0)), mean > 0 ? seconds_text(mean / 1e9) : "-",
               std::to_string(lost)},
              colour_of(health));
    for (const Json& reason : module["reasons"]) troubles.push_back(name + ": " + reason.get<std::string>());
    for (const Json& program : module["programs"]) {
      if (program["state"] == "failed" && !reasons_name(module["reasons"], program["name"])) {
        troubles.push_back(name + ": " + program["name"].get<std::string>() + ": " + program.value("reason", ""));
      }
    }
    for (const auto& [reason, n] : module["losses"].items()) {
      troubles.push_back(name + " lost " + std::to_string(n.get<uint64_t>()) + " (" + reason + ")");
    }
    if (module.contains("failing")) troubles.push_back(name + ": " + module["failing"].get<std::string>());
    if (module.contains("step_reason")) troubles.push_back(name + ": " + module["step_reason"].get<std::string>());
  }
  fmt::print("{}", table.text());
  for (const auto& trouble : troubles) fmt::print("  {} {}\n", paint(Colour::Yellow, "!"), trouble);
}

void print_policies(const Json& json) {
  Table table({{"POLICY", false}, {"MODE", false}, {"MATCHED", true}, {"CONDITIONS", false}, {"FROM", false}});
  for (const Json& policy : json["policies"]) {
    const bool over = policy["expired"];
    std::string conditions;
    for (const Json& condition : policy.value("conditions", Json::array())) {
      conditions += (conditions.empty() ? "" : ", ") + condition.get<std::string>();
    }
    table.add(
        {policy["name"], over ? "Expired" : policy["mode"].get<std::string>(),

         std::to_string(policy["matched"].get<uint64_t>()), conditions.empty() ? "-" : conditions, policy["source"]},
        over ? Colour::Grey : Colour::None);
  }
  fmt::print("\n{}", table.text());
  for (const Json& error : json["policy_errors"])
    fmt::print("  {} {}\n", paint(Colour::Red, "!"), error.get<std::string>());
  for (const Json& text : json["overridden"])
    fmt::print("  {} {}\n", paint(Colour::Yellow, "!"), text.get<std::string>());
  for (const Json& policy : json["policies"]) {
    for (const Json& text : policy["overridden"]) {
      fmt::print("  {} {}: {}\n", paint(Colour::Yellow, "!"), policy["name"].get<std::string>(),
                 text.get<std::string>());
    }
  }
}

void print_exporters(const Json& json) {
  Table table({{"OUTPUT", false},
               {"TO", false},
               {"SENT", true},
               {"REJECTED", true},
               {"DROPPED", true},
               {"RETRIES", true},
               {"WAITING", true}});
  for (const Json& exporter : json["exporters"]) {
    table.add({exporter["name"], exporter.value("destination", ""), count_text(exporter["points_sent"]),
               count_text(exporter["points_rejected"]), count_text(exporter["points_dropped"]),
               count_text(exporter["retries"]), bytes_text(exporter["queued_bytes"])});
  }
  for (const Json& exporter : json.value("span_exporters", Json::array())) {
    uint64_t dropped = 0;
    for (const Json& count : exporter["spans_dropped"]) dropped += count.get<uint64_t>();
    table.add({exporter["name"], exporter.value("destination", ""), count_text(exporter["spans_sent"]),
               count_text(exporter["spans_rejected"]), count_text(dropped), count_text(exporter["retries"]),
               bytes_text(exporter["queued_bytes"])});
  }
  fmt::print("\n{}", table.text());
  for (const Json& error : json["export_errors"])
    fmt::print("  {} {}\n", paint(Colour::Red, "!"), error.get<std::string>());
}

void print_spans(const Json& json) {
  const Json spans = json.value("spans", Json::object());
  uint64_t lost = 0;
  for (const Json& count : spans.value("lost", Json::object())) lost += count.get<uint64_t>();
  const auto recorded = spans.value("recorded", uint64_t{0}), suppressed = spans.value("suppressed", uint64_t{0});
  if (recorded + suppressed + lost == 0) return;
  fmt::print("\n{} spans recorded, {} operations suppressed by the limit, {} lost\n", count_text(recorded),
             count_text(suppressed), count_text(lost));
}

void print_status(const Json& json) {
  const Json& subjects = json["subjects"];
  fmt::print("Sonde {} on {} (Linux {} {}), up {}, process {}\n", json["version"].get<std::string>(),
             json["host"].get<std::string>(), json["kernel"].get<std::string>(), json["machine"].get<std::string>(),
             seconds_text(json["uptime_seconds"]), json["pid"].get<int>());
  if (json.contains("idle")) {
    fmt::print("{} Nothing is measured ({}): {}\n", paint(Colour::Red, "!"), json["idle"]["reason"].get<std::string>(),
               json["idle"]["message"].get<std::string>());
    fmt::print("  The agent checks again every minute, and immediately on SIGHUP.\n");
    return print_policies(json);
  }
  fmt::print("{} of {} subjects measured, {} of {} slots in use; {:.1f} of {:.0f} milli-CPU used\n\n",
             subjects["selected"].get<uint64_t>(), subjects["known"].get<uint64_t>(),
             subjects["slots_used"].get<uint64_t>(), subjects["slots_capacity"].get<uint64_t>(),
             json["overhead"]["used_milli_cpu"].get<double>(), json["overhead"]["budget_milli_cpu"].get<double>());
  if (const uint64_t without = subjects.value("without_slot", uint64_t{0})) {
    fmt::print(
        "  {} {} cgroups have no slot and are counted as unattributed: raise limits.subjects (--max-subjects)\n\n",
        paint(Colour::Red, "!"), without);
  }
  for (const Json& warning : json.value("warnings", Json::array())) {
    fmt::print("  {} {}\n\n", paint(Colour::Yellow, "!"), warning.get<std::string>());
  }
  fmt::print("{}\n", identity_text(json));
  print_modules(json["modules"]);
  print_policies(json);
  print_exporters(json);
  print_spans(json);
}

}  // namespace

void add_status_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("status", "Show probes, policies, exporters and losses of the running agent");
  auto flags = add_agent_flags(*command);
  command->callback([flags, &context] { show_answer(*flags, "/statusz", context, print_status); });
}

}  // namespace sonde::cli
