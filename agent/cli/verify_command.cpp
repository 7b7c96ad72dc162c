// SPDX-License-Identifier: Apache-2.0
// `sonde verify`: six steps from "the agent runs" to "somebody can read the numbers".
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/api/http_client.h"
#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/cli/agent_answer.h"
#include "agent/cli/checks.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

Check step(std::string name, bool ok, std::string finding, std::string remedy) {
  return {std::move(name), ok ? Verdict::Ok : Verdict::Failure, std::move(finding), ok ? "" : std::move(remedy)};
}

Check probes_step(const Json& status) {
  int attached = 0;
  int failed = 0;
  std::vector<std::string> off;  // probes that do not work at all
  for (const Json& module : status["modules"]) {
    const ProgramCount count = count_programs(module);
    attached += count.attached;
    failed += count.failed;
    if (module["health"] == "failed") off.push_back(module["name"]);
  }
  const std::string without = off.empty() ? "" : "; off: " + join(off);
  Check check = step("probes attached", attached > 0,
                     fmt::format("{} programs, {} failed{}", attached, failed, without), "run `sonde doctor`");
  if (attached > 0 && (failed > 0 || !off.empty())) {
    check.verdict = Verdict::Warning;
    check.remedy = "`sonde status` lists them with the reason";
  }
  return check;
}

Check output_step(const Json& status) {
  uint64_t sent = 0;
  bool any = false;
  for (const Json& exporter : status["exporters"]) {
    if (exporter["name"] == "prometheus") continue;
    any = true;
    sent += exporter["points_sent"].get<uint64_t>();
  }
  if (!any) return {"output written", Verdict::Ok, "nothing is pushed: metrics are only served", ""};
  const std::string error = status["export_errors"].empty() ? "" : ": " + status["export_errors"][0].get<std::string>();
  Check check = step("output written", sent > 0, fmt::format("{} points{}", sent, error),
                     "wait for the first interval; then check the endpoint or file shown by `sonde status`");
  if (sent > 0 && !error.empty()) {  // one output works and another does not, or it did until now
    check.verdict = Verdict::Warning;
    check.remedy = "`sonde status` shows which exporter it is";
  }
  return check;
}

std::vector<Check> verify(const std::string& address) {
  std::vector<Check> checks;
  auto answer = get_from_agent(address, "/statusz", kAnswerTimeoutNs);
  const Json status = answer ? parse_json<Json>(*answer) : Json();
  if (!status.is_object()) {
    checks.push_back(step("agent runs", false, answer ? "the answer is not from an agent" : answer.error().message(),
                          "start it: sonde agent"));
    for (const char* name : {"target found", "probes attached", "kernel counts", "output written", "metrics served"}) {
      checks.push_back(step(name, false, "unknown without an agent", "start it first"));
    }
    return checks;
  }
  checks.push_back(step("agent runs", true, "version " + status["version"].get<std::string>(), ""));
  const auto selected = status["subjects"]["selected"].get<uint64_t>();
  checks.push_back(step("target found", selected > 0, fmt::format("{} subjects", selected),
                        "no policy selects anything here: see `sonde status`"));
  checks.push_back(probes_step(status));
  const auto samples = status["pipeline"]["samples"].get<uint64_t>();
  checks.push_back(step("kernel counts", samples > 0, fmt::format("{} samples", samples),
                        "wait for the first interval; if it stays 0, nothing measurable has happened"));
  checks.push_back(output_step(status));
  auto metrics = get_from_agent(address, "/metrics", kAnswerTimeoutNs);
  const bool served = metrics && metrics->find("sonde_") != std::string::npos;
  checks.push_back(step("metrics served", served,
                        served ? fmt::format("{} bytes at http://{}/metrics", metrics->size(), address)
                               : (metrics ? std::string("/metrics has no series yet") : metrics.error().message()),
                        "wait for the first interval"));
  return checks;
}

}  // namespace

void add_verify_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("verify", "Verify six steps: agent, target, probes, counts, output, metrics");
  auto flags = add_agent_flags(*command);
  command->callback([flags, &context] {
    const auto checks = verify(flags->address);
    fmt::print("{}", flags->format == "json" ? checks_json(checks) : checks_text(checks));
    context.code = checks_code(checks);
  });
}

}  // namespace sonde::cli
