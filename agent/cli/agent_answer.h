// SPDX-License-Identifier: Apache-2.0
// What the commands that ask a running agent have in common: their flags, and what to do with the answer.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/cli/cli.h"

namespace sonde::cli {

inline constexpr uint64_t kAnswerTimeoutNs = 5'000'000'000;

struct AgentFlags {
  std::string format = "table";             // -o, --output
  std::string address = "127.0.0.1:18081";  // --address: the agent's loopback listener
};
std::shared_ptr<AgentFlags> add_agent_flags(CLI::App& command);

// GET `path` from the agent: printed as it came with `-o json`, otherwise given to `print`. No answer, or one that
// is not an agent's, fails the command.
void show_answer(const AgentFlags& flags, const std::string& path, Context& context,
                 const std::function<void(const nlohmann::ordered_json&)>& print);

// Where the names of pods come from, of /statusz: "names: kubelet, 12 pods, 3 s old", and on lines of their own why better
// sources are not in use.
std::string identity_text(const nlohmann::ordered_json& status);

// Programs of one module of /statusz.
struct ProgramCount {
  int attached = 0;
  int failed = 0;
};
ProgramCount count_programs(const nlohmann::ordered_json& module);

}  // namespace sonde::cli
