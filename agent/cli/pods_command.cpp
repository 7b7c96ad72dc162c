// SPDX-License-Identifier: Apache-2.0
// `sonde pods`: pod → container → cgroup → processes.
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/cli/agent_answer.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::size_t kPidsShown = 6;
constexpr std::size_t kShortId = 12;

std::string pids_text(const Json& subject) {
  if (!subject.contains("pids")) return "gone";
  const auto pids = subject["pids"].get<std::vector<uint32_t>>();
  std::string text;
  for (std::size_t i = 0; i < pids.size() && i < kPidsShown; ++i) text += (i ? "," : "") + std::to_string(pids[i]);
  if (pids.size() > kPidsShown) text += " and " + std::to_string(pids.size() - kPidsShown) + " more";
  return text.empty() ? "-" : text;
}

// A pod is known by its name where Kubernetes told it, else by its UID.
std::string pod_text(const Json& subject) {
  if (subject.contains("pod")) return subject.value("namespace", "") + "/" + subject.value("pod", "");
  return subject.value("pod_uid", "-");
}

std::string container_text(const Json& subject) {
  const std::string id = subject.value("container_id", "");
  const std::string name = subject.value("container", subject.value("runtime", ""));
  if (id.empty()) return name.empty() ? "-" : name;
  return (name.empty() ? "" : name + ":") + id.substr(0, kShortId);
}

void print_pods(const Json& json) {
  Table table({{"CGROUP", false}, {"POD", false}, {"CONTAINER", false}, {"PROCESSES", false}});
  for (const Json& subject : json) {
    table.add({subject.value("cgroup", ""), pod_text(subject), container_text(subject), pids_text(subject)});
  }
  fmt::print("{}", table.text(is_terminal() ? terminal_size().columns : 0));
}

}  // namespace

void add_pods_command(CLI::App& app, Context& context) {
  auto* command =
      app.add_subcommand("pods", "List pods, containers and cgroups known to the running agent, with their processes");
  auto flags = add_agent_flags(*command);
  command->callback([flags, &context] {
    show_answer(*flags, "/pods", context, print_pods);
    if (flags->format == "json" || context.code != kOk) return;
    show_answer(*flags, "/statusz", context, [](const Json& status) { fmt::print("\n{}", identity_text(status)); });
  });
}

}  // namespace sonde::cli
