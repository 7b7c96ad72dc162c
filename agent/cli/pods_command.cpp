// SPDX-License-Identifier: Apache-2.0
// `sonde pods`: pod → container → cgroup → processes.
#include <memory>
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/api/http_client.h"
#include "agent/cli/cli.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr uint64_t kTimeoutNs = 5'000'000'000;
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

}  // namespace

void add_pods_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("pods", "Pods, containers and cgroups that the running agent knows, with their processes");
  struct Flags {
    std::string format = "table";
    std::string address = "127.0.0.1:18081";
  };
  auto flags = std::make_shared<Flags>();
  add_output_flag(*command, flags->format);
  add_address_flag(*command, flags->address);
  command->callback([flags, &context] {
    auto answer = get_from_agent(flags->address, "/pods", kTimeoutNs);
    if (!answer) return context.fail(answer.error().message(), kFailed);
    if (flags->format == "json") {
      fmt::print("{}", *answer);
      return;
    }
    const Json json = Json::parse(*answer, nullptr, false);
    if (!json.is_array()) return context.fail("the answer of " + flags->address + " is not an agent's", kFailed);
    Table table({{"CGROUP", false}, {"POD", false}, {"CONTAINER", false}, {"PROCESSES", false}});
    for (const Json& subject : json) {
      table.add({subject.value("cgroup", ""), pod_text(subject), container_text(subject), pids_text(subject)});
    }
    fmt::print("{}", table.text(is_terminal() ? terminal_size().columns : 0));
  });
}

}  // namespace sonde::cli
