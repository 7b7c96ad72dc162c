// SPDX-License-Identifier: Apache-2.0
// Parses the selectors of a policy.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

#include "agent/base/text.h"
#include "agent/config/policy_reader.h"
#include "agent/policy/label_syntax.h"

namespace sonde {

namespace {

using Words = std::string_view;

constexpr std::size_t kCommLength = 15;  // TASK_COMM_LEN - 1

void check_key(MapReader& reader, const YamlNode& at, std::string_view where) {
  if (is_label_key(at.text)) return;
  reader.problems().add(at, fmt::format("{}: {} is not a label key; write letters, digits, '-', '_' and '.', "
                                        "optionally after a domain and '/', like app.kubernetes.io/name",
                                        where, describe(at)));
}

void check_value(MapReader& reader, const YamlNode& at, std::string_view where) {
  if (is_label_value(at.text)) return;
  reader.problems().add(at, fmt::format("{}: {} is not a label value; write at most 63 letters, digits, '-', '_' and "
                                        "'.', starting and ending with a letter or digit",
                                        where, describe(at)));
}

// Of a label, which may be empty.
std::vector<std::string> read_values(MapReader& reader) {
  std::vector<std::string> values;
  const std::string where = reader.name_of("values");
  for (const YamlNode* item : reader.items("values", kMostEntries, true)) {
    check_value(reader, *item, where);
    values.push_back(item->text);
  }
  return values;
}

LabelRequirement read_requirement(MapReader& reader) {
  static constexpr std::array<Words, 3> kFields{"key", "operator", "values"};
  static constexpr std::array<Words, 4> kOperators{"In", "NotIn", "Exists", "DoesNotExist"};
  LabelRequirement requirement;
  reader.allow(kFields);
  if (!reader.missing("key", "name the label")) requirement.key = reader.text("key").value_or("");
  if (!requirement.key.empty()) check_key(reader, *reader.find("key"), reader.name_of("key"));
  if (reader.missing("operator", "write In, NotIn, Exists or DoesNotExist")) return requirement;
  auto word = reader.word("operator", kOperators);
  if (!word) return requirement;
  requirement.op = static_cast<SelectorOperator>(*word);
  requirement.values = read_values(reader);
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
  if (auto labels = reader->labels("matchLabels")) {
    const std::string where = reader->name_of("matchLabels");
    static const std::vector<YamlEntry> kNone;
    const YamlNode* written = reader->find("matchLabels");
    for (const auto& [key, value] : written ? written->entries : kNone) {
      check_key(*reader, key, where);
      if (value.kind == YamlNode::Kind::Scalar) check_value(*reader, value, where + "." + key.text);
    }
    selector.match_labels = std::move(*labels);
  }
  for (MapReader& expression : reader->maps("matchExpressions", kMostEntries)) {
    selector.match_expressions.push_back(read_requirement(expression));
  }
  return selector;
}

void read_containers(MapReader& spec, Policy& policy) {
  static constexpr std::array<Words, 2> kFields{"names", "types"};
  static constexpr std::array<Words, 4> kTypes{"Regular", "Init", "Ephemeral", "Sidecar"};
  auto containers = spec.map("containers");
  if (!containers) return;
  containers->allow(kFields);
  for (const YamlNode* item : containers->items("names", kMostEntries)) {
    if (!is_container_name(item->text)) {
      containers->problems().add(*item,
                                 fmt::format("spec.containers.names: {} is not a container name; write at most 63 "
                                             "lower-case letters, digits and '-'",
                                             describe(*item)));
    }
    policy.container_names.push_back(item->text);
  }
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
      spec.problems().add(*item,
                          fmt::format("spec.commands: the kernel keeps only {} characters of a command name, write "
                                      "'{}' instead of {}",
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
                        "a MonitorPolicy only selects in its own namespace: remove spec.namespaceSelector or write "
                        "kind: ClusterMonitorPolicy");
  }
  read_containers(spec, policy);
  read_local(spec, policy);
}

}  // namespace sonde
