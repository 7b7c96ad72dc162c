// SPDX-License-Identifier: Apache-2.0
// Whom a policy selects.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

#include "agent/base/text.h"
#include "agent/config/policy_reader.h"

namespace sonde {

namespace {

using Words = std::string_view;

constexpr std::size_t kCommLength = 15;  // TASK_COMM_LEN - 1

LabelRequirement read_requirement(MapReader& reader) {
  static constexpr std::array<Words, 3> kFields{"key", "operator", "values"};
  static constexpr std::array<Words, 4> kOperators{"In", "NotIn", "Exists", "DoesNotExist"};
  LabelRequirement requirement;
  reader.allow(kFields);
  if (!reader.missing("key", "name the label")) requirement.key = reader.text("key").value_or("");
  if (reader.missing("operator", "write In, NotIn, Exists or DoesNotExist")) return requirement;
  auto word = reader.word("operator", kOperators);
  if (!word) return requirement;
  requirement.op = static_cast<SelectorOperator>(*word);
  requirement.values = reader.texts("values", kMostEntries).value_or(std::vector<std::string>());
  bool wants_values = requirement.op == SelectorOperator::In || requirement.op == SelectorOperator::NotIn;
  if (wants_values == requirement.values.empty()) {
    reader.problems().add(reader.node(), fmt::format("{} with operator {} {}", reader.path(), kOperators[*word],
                                                     wants_values ? "needs values" : "must have no values"));
  }
  return requirement;
}

std::optional<LabelSelector> read_labels(MapReader& spec, std::string_view field) {
  static constexpr std::array<Words, 2> kFields{"matchLabels", "matchExpressions"};
  auto reader = spec.map(field);
  if (!reader) return {};
  reader->allow(kFields);
  LabelSelector selector;
  if (auto labels = reader->labels("matchLabels")) selector.match_labels = std::move(*labels);
  for (MapReader& expression : reader->maps("matchExpressions", kMostEntries)) {
    selector.match_expressions.push_back(read_requirement(expression));
  }
  return selector;
}

void read_containers(MapReader& spec, Policy& policy) {
  static constexpr std::array<Words, 2> kFields{"names", "types"};
  static constexpr std::array<Words, 3> kTypes{"Regular", "Init", "Ephemeral"};
  auto containers = spec.map("containers");
  if (!containers) return;
  containers->allow(kFields);
  policy.container_names = containers->texts("names", kMostEntries).value_or(std::vector<std::string>());
  for (const YamlNode* item : containers->items("types", kTypes.size())) {
    if (std::ranges::find(kTypes, std::string_view(item->text)) == kTypes.end()) {
      containers->problems().add(*item, fmt::format("spec.containers.types must be {}, not {}{}", join_or(kTypes),
                                                    describe(*item), did_you_mean(item->text, kTypes)));
    }
    policy.container_types.push_back(item->text);
  }
}

void read_local(MapReader& spec, Policy& policy) {
  for (const YamlNode* item : spec.items("cgroups", kMostEntries)) {
    if (item->text.starts_with("/sys/fs/cgroup")) {
      spec.problems().add(*item, fmt::format("spec.cgroups are paths below the root of the cgroup tree, like "
                                             "/system.slice/*, not {}",
                                             describe(*item)));
    } else if (item->text.front() != '/' && item->text.front() != '*') {
      spec.problems().add(*item, fmt::format("spec.cgroups must begin with '/' or '*', not {}", describe(*item)));
    }
    policy.cgroups.push_back(item->text);
  }
  for (const YamlNode* item : spec.items("commands", kMostEntries)) {
    // The kernel cuts names; a longer pattern without star could never match.
    if (item->text.size() > kCommLength && item->text.find('*') == std::string::npos) {
      spec.problems().add(*item, fmt::format("spec.commands: the kernel keeps {} characters of a command's name, "
                                             "write '{}' instead of {}",
                                             kCommLength, item->text.substr(0, kCommLength), describe(*item)));
    }
    policy.commands.push_back(item->text);
  }
}

}  // namespace

void read_selectors(MapReader& spec, Policy& policy, bool namespaced) {
  policy.node_selector = read_labels(spec, "nodeSelector");
  policy.namespace_selector = read_labels(spec, "namespaceSelector");
  policy.pod_selector = read_labels(spec, "podSelector");
  if (namespaced && policy.namespace_selector) {
    spec.problems().add(*spec.node().find("namespaceSelector"),
                        "a MonitorPolicy selects in its own namespace: remove spec.namespaceSelector or write kind: "
                        "ClusterMonitorPolicy");
  }
  read_containers(spec, policy);
  read_local(spec, policy);
}

}  // namespace sonde
