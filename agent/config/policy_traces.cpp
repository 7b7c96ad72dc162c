// SPDX-License-Identifier: Apache-2.0
// What a policy says about spans.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <set>

#include "agent/base/text.h"
#include "agent/config/policy_reader.h"
#include "agent/module/span_operation.h"

namespace sonde {
namespace {

using Words = std::string_view;

constexpr unsigned kNamed = kSpanOperations - 1;  // all but Function, which is named by its function

// The operations, and a word of earlier versions.
const std::array<Words, kNamed + 1>& operations() {
  static const auto kWords = [] {
    std::array<Words, kNamed + 1> words;
    for (unsigned i = 0; i < kNamed; ++i) words[i] = word_of(static_cast<SpanOperation>(i));
    words[kNamed] = "OOMKill";
    return words;
  }();
  return kWords;
}

std::string operation_at(std::size_t index) {
  return std::string(index == kNamed ? word_of(SpanOperation::OomKill) : operations()[index]);
}

// A list of words, each once.
template <typename Take>
void read_words(MapReader& reader, std::string_view field, std::span<const Words> allowed, const Take& take) {
  std::set<std::size_t> seen;
  for (const YamlNode* item : reader.items(field, kMostEntries)) {
    const auto found = std::ranges::find(allowed, Words(item->text));
    const auto index = static_cast<std::size_t>(found - allowed.begin());
    if (found == allowed.end()) {
      reader.problems().add(*item, fmt::format("{} must be {}, not {}{}", reader.name_of(field), join_or(allowed),
                                               describe(*item), did_you_mean(item->text, allowed)));
    } else if (!seen.insert(index).second) {
      reader.problems().add(*item, fmt::format("{} has {} twice", reader.name_of(field), item->text));
    } else {
      take(index);
    }
  }
}

void check_function(MapReader& reader, const std::string& name, const Policy& policy) {
  if (std::ranges::any_of(policy.functions, [&](const FunctionRequest& function) { return function.name == name; })) return;
  std::vector<Words> names;
  for (const FunctionRequest& function : policy.functions) names.push_back(function.name);
  reader.problems().add(*reader.find("function"), fmt::format("{}.function {} is not in spec.functions{}", reader.path(),
                                                              describe(*reader.find("function")), did_you_mean(name, names)));
}

void read_threshold(MapReader& reader, Policy& policy) {
  static constexpr std::array<Words, 3> kFields{"operation", "function", "minMicroseconds"};
  TraceThreshold threshold;
  reader.allow(kFields);
  if (auto word = reader.word("operation", operations())) threshold.operation = operation_at(*word);
  threshold.function = reader.text("function").value_or("");
  if (!!reader.find("operation") == !!reader.find("function")) {
    reader.problems().add(reader.node(), fmt::format("{} needs either operation or function", reader.path()));
  }
  if (!threshold.function.empty()) check_function(reader, threshold.function, policy);
  if (!reader.missing("minMicroseconds", "write the minimum duration")) {
    threshold.min_microseconds = reader.integer("minMicroseconds", 1, 3'600'000'000, "microseconds").value_or(0);
  }
  policy.trace_thresholds.push_back(std::move(threshold));
}

}  // namespace

void read_traces(MapReader& spec, Policy& policy) {
  static constexpr std::array<Words, 7> kFields{"mode",    "operations", "thresholds",              "errors",
                                                "include", "limits",     "maxSpansPerSecondPerNode"};
  static constexpr std::array<Words, 2> kModes{"Disabled", "Enabled"};
  static constexpr std::array<Words, 1> kIncluded{"PeerAddress"};
  static constexpr std::array<Words, 1> kLimits{"treesPerSecondPerNode"};
  auto traces = spec.map("traces");
  if (!traces) return;
  traces->allow(kFields);
  if (auto word = traces->word("mode", kModes)) policy.traces_enabled = *word == 1;
  if (traces->find("operations")) {
    policy.trace_operations.emplace();
    read_words(*traces, "operations", operations(),
               [&](std::size_t index) { policy.trace_operations->push_back(operation_at(index)); });
  }
  policy.trace_errors = traces->boolean("errors");
  if (traces->find("include")) {
    policy.trace_include.emplace();
    read_words(*traces, "include", kIncluded,
               [&](std::size_t index) { policy.trace_include->emplace_back(kIncluded[index]); });
  }
  for (MapReader& reader : traces->maps("thresholds", kMostEntries)) read_threshold(reader, policy);
  std::optional<int64_t> trees;
  if (auto limits = traces->map("limits")) {
    limits->allow(kLimits);
    trees = limits->integer("treesPerSecondPerNode", 1, 1'000);
  }
  // A span was what is a tree today.
  const auto spans = traces->integer("maxSpansPerSecondPerNode", 1, 10'000);
  if (trees && spans) {
    traces->problems().add(
        *traces->find("maxSpansPerSecondPerNode"),
        fmt::format("{}.maxSpansPerSecondPerNode is the former name of limits.treesPerSecondPerNode: remove it", traces->path()));
  }
  if (!trees) trees = spans;
  if (trees) policy.trees_per_second = static_cast<int>(*trees);
}

}  // namespace sonde
