// SPDX-License-Identifier: Apache-2.0
// `sonde explain pod NAMESPACE/NAME`: why a pod is measured as it is.
#include <cctype>
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/cli/agent_answer.h"
#include "agent/cli/cluster_commands.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ExplainFlags {
  std::string pod;
  std::string container;
};

// Whatever stands in a URL without being escaped, and no more than names need.
std::string name_problem(const std::string& name) {
  const bool good = !name.empty() && name.size() < 400 &&
                    name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-./") == std::string::npos;
  return good ? "" : "'" + name + "' is not a name; write for example shop/web-0";
}

// 8dbc5577-d0e2-4706-8787-57d52c03ddf2, or the 32 hex digits of a static pod.
bool is_uid(const std::string& word) {
  std::size_t digits = 0;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool dash = word.size() == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
    if (dash ? word[i] != '-' : !std::isxdigit(static_cast<unsigned char>(word[i]))) return false;
    digits += !dash;
  }
  return digits == 32;
}

// A name alone would be looked for in every namespace and be found in the wrong one.
std::string pod_problem(const std::string& word) {
  if (auto problem = name_problem(word); !problem.empty() || is_uid(word)) return problem;
  const auto slash = word.find('/');
  if (slash == std::string::npos) {
    return "'" + word + "' has no namespace: write NAMESPACE/NAME, for example default/" + word + ", or the pod's UID";
  }
  const bool good = slash > 0 && slash + 1 < word.size() && word.find('/', slash + 1) == std::string::npos;
  return good ? "" : "'" + word + "' is not NAMESPACE/NAME; write for example default/web-0, or the pod's UID";
}

void print_decisions(const Json& container) {
  for (const Json& policy : container["policies"]) {
    const bool selects = policy["selects"].get<bool>();
    fmt::print("  {} {} ({}, priority {}){}\n", selects ? "[+]" : "[ ]", policy["name"].get<std::string>(),
               policy["mode"].get<std::string>(), policy["priority"].get<int>(),
               selects ? "" : ": " + policy["why_not"].get<std::string>());
    for (const Json& refused : policy.value("refused", Json::array())) {
      fmt::print("      refused: {}: {}\n", refused["probe"].get<std::string>(), refused["message"].get<std::string>());
    }
  }
}

std::string state_of(const Json& probe) {
  if (probe.contains("fails")) return "does not work: " + probe["fails"].get<std::string>();
  if (probe.contains("lowered_to"))
    return "lowered to " + probe["lowered_to"].get<std::string>() + " by a limit or the budget";
  if (probe.contains("lacks")) return "with gaps: " + probe["lacks"].get<std::string>();
  return "";
}

void print_tables(const Json& container) {
  const int width = is_terminal() ? terminal_size().columns : 0;
  Table values({{"  VALUE", false}, {"", false}, {"SET BY", false}});
  for (const Json& one : container["values"]) {
    values.add(
        {"  " + one["field"].get<std::string>(), one["value"].get<std::string>(), one["policy"].get<std::string>()});
  }
  fmt::print("{}", values.text(width));
  Table probes({{"  PROBE", false}, {"LEVEL", false}, {"REQUESTED BY", false}, {"METRICS", true}, {"", false}});
  for (const Json& one : container["probes"]) {
    probes.add({"  " + one["name"].get<std::string>(), one["level"].get<std::string>(),
                one["policy"].get<std::string>(), std::to_string(one["metrics"].size()), state_of(one)});
  }
  fmt::print("{}", probes.text(width));
  for (const Json& one : container["functions"]) {
    fmt::print("  function {} ({} {}), requested by {}: {}\n", one["name"].get<std::string>(),
               one["type"].get<std::string>(), one["symbol"].get<std::string>(), one["policy"].get<std::string>(),
               one.contains("message") ? one["message"].get<std::string>() : "measured");
  }
}

void print_container(const Json& container) {
  fmt::print("{} in {}\n", container["container"].get<std::string>(), container["cgroup"].get<std::string>());
  print_decisions(container);
  if (container.contains("excluded_by")) {
    fmt::print("  Not measured: excluded by {}.\n", container["excluded_by"].get<std::string>());
  } else if (!container["selected"].get<bool>()) {
    fmt::print("  Not measured: no policy selects it.\n");
  } else {
    print_tables(container);
  }
  for (const Json& sentence : container["overridden"]) fmt::print("  overridden: {}\n", sentence.get<std::string>());
}

}  // namespace

void add_explain_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("explain",
                                     "Explain how a pod is measured: matching policies, source of each value, what "
                                     "is refused");
  auto* pod = command->add_subcommand("pod", "A pod on this node, by NAMESPACE/NAME or UID");
  command->require_subcommand(1);
  auto flags = add_agent_flags(*pod);
  auto what = std::make_shared<ExplainFlags>();
  pod->add_option("pod", what->pod, "NAMESPACE/NAME, or the pod's UID")->required()->check(pod_problem);
  pod->add_option("--container", what->container, "Only this container, by name or id prefix")->check(name_problem);
  pod->callback([flags, what, &context] {
    std::string path = "/explain?pod=" + what->pod;
    if (!what->container.empty()) path += "&container=" + what->container;
    show_answer(*flags, path, context, [&](const Json& json) {
      if (json["containers"].empty()) {
        return context.fail("the agent on this node knows no container of " + what->pod + ": see `sonde pods`",
                            kFailed);
      }
      for (const Json& container : json["containers"]) print_container(container);
    });
  });
}

}  // namespace sonde::cli
