// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/agent_answer.h"

#include <spdlog/fmt/fmt.h>

#include "agent/api/http_client.h"
#include "agent/base/host_port.h"
#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

// What is wrong with "host:port" or ":port"; empty if nothing is.
std::string address_problem(const std::string& address) {
  const auto parsed = parse_host_port(address);
  if (!parsed || !parsed->port || !parse_integer(*parsed->port, 1, 65'535)) {
    return "'" + address + "' is not host:port with a port from 1 to 65535; write for example 127.0.0.1:18081";
  }
  return "";
}

}  // namespace

std::shared_ptr<AgentFlags> add_agent_flags(CLI::App& command) {
  auto flags = std::make_shared<AgentFlags>();
  add_output_flag(command, flags->format);
  command.add_option("--address", flags->address, "Loopback address of the agent, host:port")
      ->check(address_problem)
      ->default_str(flags->address);
  return flags;
}

void show_answer(const AgentFlags& flags, const std::string& path, Context& context,
                 const std::function<void(const nlohmann::ordered_json&)>& print) {
  auto answer = get_from_agent(flags.address, path, kAnswerTimeoutNs);
  if (!answer) return context.fail(answer.error().message(), kFailed);
  if (flags.format == "json") {
    fmt::print("{}", *answer);
    return;
  }
  try {
    const auto json = parse_json<nlohmann::ordered_json>(*answer);
    if (!json.is_discarded()) return print(json);
  } catch (const nlohmann::json::exception&) {  // without what an agent says
  }
  context.fail("the answer of " + flags.address + " is not an agent's", kFailed);
}

std::string identity_text(const nlohmann::ordered_json& status) {
  const auto& identity = status.at("identity");
  const std::string source = identity.at("source");
  std::string text = "names: ";
  if (source == "cgroup") return text + "cgroup paths only\n";
  if (source.empty()) {
    text += "no pod source has answered yet";
  } else {
    text += fmt::format("{}, {} pods", source, identity.at("pods").get<uint64_t>());
    if (identity.contains("age_seconds")) text += fmt::format(", {:.0f} s old", identity["age_seconds"].get<double>());
    if (!identity.at("serving").get<bool>()) text += "; it no longer answers, the last snapshot is in use";
  }
  text += "\n";
  for (const auto& one : identity.at("sources")) {
    if (!one.contains("reason")) continue;
    text += fmt::format("  {} {} {}: {}\n", paint(Colour::Yellow, "!"), one.at("name").get<std::string>(),
                        one.at("state").get<std::string>(), one["reason"].get<std::string>());
  }
  return text;
}

ProgramCount count_programs(const nlohmann::ordered_json& module) {
  ProgramCount count;
  for (const auto& program : module["programs"]) {
    count.attached += program["state"] == "attached";
    count.failed += program["state"] == "failed";
  }
  return count;
}

}  // namespace sonde::cli
