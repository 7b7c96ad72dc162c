// SPDX-License-Identifier: Apache-2.0
#include "agent/config/policy_file.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <map>

#include "agent/base/text.h"
#include "agent/config/policy_reader.h"
#include "agent/policy/label_syntax.h"
#include "agent/policy/resolve.h"

namespace sonde {

namespace {

using Words = std::string_view;

constexpr std::string_view kApiVersion = "sonde.dev/v1alpha1";
constexpr std::array<Words, 2> kKinds{"MonitorPolicy", "ClusterMonitorPolicy"};
constexpr std::array<Words, 5> kTop{"apiVersion", "kind", "metadata", "spec", "status"};
// What the API server adds is read over, so that `kubectl get -o yaml` gives a file.
constexpr std::array<Words, 15> kMetadata{"name",
                                          "namespace",
                                          "labels",
                                          "annotations",
                                          "uid",
                                          "resourceVersion",
                                          "generation",
                                          "creationTimestamp",
                                          "managedFields",
                                          "ownerReferences",
                                          "finalizers",
                                          "selfLink",
                                          "generateName",
                                          "deletionTimestamp",
                                          "deletionGracePeriodSeconds"};
constexpr std::array<Words, 16> kSpec{
    "mode",    "priority",  "activeForSeconds", "nodeSelector", "namespaceSelector", "podSelector", "containers",
    "cgroups", "commands",  "preset",           "probes",       "functions",         "collection",  "limits",
    "traces",  "attributes"};
// What an Exclude cannot have: it measures nothing.
constexpr std::array<Words, 6> kMeasuring{"preset", "functions", "collection", "limits", "traces", "attributes"};
constexpr std::array<Words, 2> kModes{"Monitor", "Exclude"};
constexpr std::array<Words, 4> kGranularities{"Workload", "Pod", "Container", "Process"};
constexpr std::array<Words, 3> kStrategies{"NoCleanup", "KeepRecent", "ClearAfterRead"};

bool is_object_name(std::string_view name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789-.";
  auto edge = [](char c) { return c != '-' && c != '.'; };
  return !name.empty() && name.size() <= 253 && name.find_first_not_of(kAllowed) == std::string_view::npos &&
         edge(name.front()) && edge(name.back());
}

void read_collection(MapReader& spec, Policy& policy) {
  static constexpr std::array<Words, 3> kFields{"periodSeconds", "granularity", "cleanup"};
  auto collection = spec.map("collection");
  if (!collection) return;
  collection->allow(kFields);
  policy.period_seconds = collection->integer("periodSeconds", 1, 3600, "seconds");
  if (auto word = collection->word("granularity", kGranularities)) policy.granularity = static_cast<Granularity>(*word);
  auto cleanup = collection->map("cleanup");
  if (!cleanup) return;
  static constexpr std::array<Words, 2> kCleanupFields{"strategy", "keepRecent"};
  cleanup->allow(kCleanupFields);
  if (auto word = cleanup->word("strategy", kStrategies)) policy.cleanup = static_cast<CleanupStrategy>(*word);
  auto keep = cleanup->map("keepRecent");
  if (!keep) return;
  static constexpr std::array<Words, 1> kKeepFields{"idleSeconds"};
  keep->allow(kKeepFields);
  policy.idle_seconds = keep->integer("idleSeconds", 1, 86'400, "seconds");
  if (policy.cleanup && *policy.cleanup != CleanupStrategy::KeepRecent) {
    keep->problems().add(keep->node(), fmt::format("{} is only valid with strategy KeepRecent, not with {}",
                                                   keep->path(), word_of(*policy.cleanup)));
  }
}

void read_limits(MapReader& spec, Policy& policy) {
  static constexpr std::array<Words, 2> kFields{"seriesPerContainer", "seriesPerNode"};
  auto limits = spec.map("limits");
  if (!limits) return;
  limits->allow(kFields);
  policy.series_per_container = limits->integer("seriesPerContainer", 1, 100'000);
  policy.series_per_node = limits->integer("seriesPerNode", 1, 10'000'000);
}

void read_attributes(MapReader& spec, Policy& policy) {
  static constexpr std::array<Words, 2> kFields{"podLabels", "podAnnotations"};
  auto attributes = spec.map("attributes");
  if (!attributes) return;
  attributes->allow(kFields);
  policy.pod_labels = attributes->texts("podLabels", kMostEntries);
  for (const std::string& key : policy.pod_labels.value_or(std::vector<std::string>())) {
    if (is_label_key(key)) continue;
    attributes->problems().add(*attributes->find("podLabels"),
                               fmt::format("spec.attributes.podLabels: '{}' is not a label key; write one, like "
                                           "app.kubernetes.io/name (patterns are not supported)",
                                           one_line(key)));
  }
  policy.pod_annotations = attributes->texts("podAnnotations", kMostEntries);
}

void read_spec(MapReader& spec, Policy& policy, bool namespaced, std::span<const ModuleEntry> modules) {
  spec.allow(kSpec);
  if (auto word = spec.word("mode", kModes)) policy.mode = static_cast<Mode>(*word);
  policy.priority = static_cast<int>(spec.integer("priority", 0, 1000).value_or(0));
  policy.active_for_seconds = spec.integer("activeForSeconds", 1, 31'536'000, "seconds");
  read_selectors(spec, policy, namespaced);
  if (policy.mode == Mode::Exclude) {
    for (std::string_view field : kMeasuring) {
      if (const YamlNode* found = spec.find(field)) {
        spec.problems().add(*found,
                            fmt::format("spec.{} has no effect with mode Exclude, which measures nothing: remove it "
                                        "or write mode: Monitor",
                                        field));
      }
    }
    read_probes(spec, policy, modules);
    return;
  }
  if (auto word = spec.word("preset", kLevels)) policy.preset = static_cast<Level>(*word);
  read_probes(spec, policy, modules);
  read_functions(spec, policy, namespaced);
  read_collection(spec, policy);
  read_limits(spec, policy);
  read_traces(spec, policy);
  read_attributes(spec, policy);
}

bool read_head(MapReader& top, Policy& policy, bool& namespaced) {
  top.allow(kTop);
  if (!top.missing("apiVersion", fmt::format("write apiVersion: {}", kApiVersion))) {
    static constexpr std::array<Words, 1> kVersions{kApiVersion};
    top.word("apiVersion", kVersions);
  }
  if (!top.missing("kind", "write kind: ClusterMonitorPolicy or MonitorPolicy")) {
    namespaced = top.word("kind", kKinds) == 0;
  }
  if (top.missing("metadata", "write metadata: {name: …}")) return false;
  auto metadata = top.map("metadata");
  metadata->allow(kMetadata);
  if (!metadata->missing("name", "a policy needs a name")) {
    policy.name = metadata->text("name").value_or("");
    if (!policy.name.empty() && !is_object_name(policy.name)) {
      metadata->problems().add(*metadata->find("name"),
                               fmt::format("metadata.name must consist of lower-case letters, digits, '-' and '.', and "
                                           "start and end with a letter or digit, not {}",
                                           describe(*metadata->find("name"))));
    }
  }
  policy.namespace_name = metadata->text("namespace").value_or("");
  metadata->only_texts("labels");
  metadata->only_texts("annotations");
  if (!namespaced && !policy.namespace_name.empty()) {
    metadata->problems().add(
        *metadata->find("namespace"),
        "a ClusterMonitorPolicy has no metadata.namespace: remove it or write kind: MonitorPolicy");
  }
  return !top.missing("spec", "write spec: with at least a preset");
}

// Over everything that means something: no places, no order of keys.
uint64_t fingerprint(const YamlNode& node) {
  constexpr uint64_t kPrime = 1'099'511'628'211ULL;  // FNV-1a
  uint64_t hash = 14'695'981'039'346'656'037ULL + static_cast<uint64_t>(node.kind);
  for (char c : node.text) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
  for (const YamlNode& item : node.items) hash = (hash ^ fingerprint(item)) * kPrime;
  uint64_t sum = 0;
  for (const auto& [key, value] : node.entries) sum += (fingerprint(key) * kPrime) ^ fingerprint(value);
  return (hash ^ sum) * kPrime;
}

void add_notes(const MapReader& spec, const Policy& policy, std::span<const ModuleEntry> modules, Problems& notes) {
  if (!policy.functions.empty() && function_module(modules) < 0) {
    notes.add(*spec.find("functions"), "spec.functions has no effect: this build has no probe that measures functions");
  }
}

}  // namespace

PolicyFile parse_policies(std::string_view text, const std::string& name, uint64_t created_ns,
                          std::span<const ModuleEntry> modules) {
  PolicyFile file;
  auto documents = parse_yaml(text, name);
  if (!documents) {
    file.problems.push_back(documents.error().message());
    return file;
  }
  Problems problems(name), notes(name);
  std::map<std::string, int> seen;
  for (const YamlNode& document : *documents) {
    Policy policy;
    bool namespaced = false;
    policy.source = fmt::format("{}:{}", name, document.line);
    policy.created_ns = created_ns;
    policy.generation = 1;
    MapReader top(document, "", problems);
    if (read_head(top, policy, namespaced)) {
      MapReader spec(*top.find("spec"), "spec", problems);
      read_spec(spec, policy, namespaced, modules);
      add_notes(spec, policy, modules, notes);
      file.fingerprints.push_back(fingerprint(*top.find("spec")) ^ static_cast<uint64_t>(namespaced));
    }
    auto [first, fresh] = seen.emplace(display_name(policy), document.line);
    if (!fresh && !policy.name.empty()) {
      problems.add(document, fmt::format("the policy '{}' is already in line {}: names must be unique", first->first,
                                         first->second));
    }
    file.policies.push_back(std::move(policy));
  }
  file.problems = problems.sentences();
  file.notes = notes.sentences();
  return file;
}

}  // namespace sonde
