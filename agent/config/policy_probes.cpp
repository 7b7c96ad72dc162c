// SPDX-License-Identifier: Apache-2.0
// What a policy asks: probes and functions.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "agent/base/text.h"
#include "agent/config/policy_reader.h"
#include "agent/policy/resolve.h"

namespace sonde {

namespace {

using Words = std::string_view;

constexpr std::string_view kFunctionLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

std::vector<Words> probe_names(std::span<const ModuleEntry> modules) {
  std::vector<Words> names;
  for (const ModuleEntry& entry : modules) names.push_back(entry.module->info().name);
  for (const ModuleEntry& entry : modules) {
    for (Words alias : entry.module->info().aliases) names.push_back(alias);
  }
  names.push_back("all");
  return names;
}

// Of one probe and its parts, or of all.
std::vector<Words> metric_names(std::string_view probe, std::span<const ModuleEntry> modules) {
  std::vector<Words> names;
  for (const ModuleEntry& entry : modules) {
    const ModuleInfo& info = entry.module->info();
    if (probe != "all" && !stands_for(modules, probe, info)) continue;
    for (const MetricSpec& metric : info.metrics) names.push_back(metric.name);
  }
  return names;
}

std::vector<std::string> read_metrics(MapReader& reader, std::string_view field, std::string_view probe,
                                      std::span<const ModuleEntry> modules) {
  std::vector<std::string> result;
  auto known = metric_names(probe, modules);
  for (const YamlNode* item : reader.items(field, kMostEntries)) {
    result.push_back(item->text);
    if (std::ranges::find(known, Words(item->text)) != known.end()) continue;
    reader.problems().add(*item, fmt::format("the probe {} has no metric {}{} (it has {})", probe, describe(*item),
                                             did_you_mean(item->text, known), join(known)));
  }
  return result;
}

void check_function(MapReader& reader, const FunctionRequest& function, bool namespaced) {
  auto wrong = [&](std::string_view field, const std::string& sentence) {
    const YamlNode* at = reader.find(field);
    reader.problems().add(at ? *at : reader.node(), sentence);
  };
  if (function.type == "Kernel") {
    if (namespaced) wrong("type", "only a ClusterMonitorPolicy may measure kernel functions");
    if (!function.path.empty()) wrong("path", fmt::format("{}.path has no effect with type Kernel", reader.path()));
  } else if (function.type == "Uprobe" && function.path.empty()) {
    wrong("path", fmt::format("{}.path is missing, write the path of the program or library inside the container",
                              reader.path()));
  } else if (!function.path.empty() && function.path.front() != '/') {
    wrong("path", fmt::format("{}.path must begin with '/', not '{}'", reader.path(), function.path));
  }
  const bool usdt = function.type == "USDT";
  if (usdt && !function.symbol.empty() && function.symbol.find(':') == std::string::npos) {
    wrong("symbol", fmt::format("{}.symbol of a USDT tracepoint must be provider:name, not '{}'", reader.path(),
                                function.symbol));
  }
  for (const std::string_view end : {"Duration", "Errors"}) {
    if (!usdt || std::ranges::find(function.measure, end) == function.measure.end()) continue;
    wrong("measure", fmt::format("{}.measure cannot have {}: a USDT tracepoint has no end", reader.path(), end));
  }
  if (reader.find("errors") && std::ranges::find(function.measure, "Errors") == function.measure.end()) {
    wrong("errors", fmt::format("{}.errors needs Errors in measure", reader.path()));
  }
  bool bytes = std::ranges::find(function.measure, "Bytes") != function.measure.end();
  if (bytes && !function.bytes_argument) {
    wrong("measure", fmt::format("{}.measure has Bytes: write bytes: {{argument: N}}, the argument that is the size",
                                 reader.path()));
  }
  if (!bytes && reader.find("bytes")) {
    wrong("bytes", fmt::format("{}.bytes needs Bytes in measure", reader.path()));
  }
}

FunctionRequest read_function(MapReader& reader, bool namespaced) {
  static constexpr std::array<Words, 7> kFields{"name", "type", "path", "symbol", "measure", "bytes", "errors"};
  static constexpr std::array<Words, 3> kTypes{"Uprobe", "USDT", "Kernel"};
  static constexpr std::array<Words, 4> kMeasures{"Calls", "Duration", "Errors", "Bytes"};
  FunctionRequest function;
  reader.allow(kFields);
  if (!reader.missing("name", "a function needs its own name")) function.name = reader.text("name").value_or("");
  if (function.name.size() > 63 || function.name.find_first_not_of(kFunctionLetters) != std::string::npos) {
    reader.problems().add(*reader.find("name"),
                          fmt::format("{}.name must consist of at most 63 letters, digits, '_', '-' or '.', not {}",
                                      reader.path(), describe(*reader.find("name"))));
  }
  if (!reader.missing("type", "write Uprobe, USDT or Kernel")) {
    if (auto word = reader.word("type", kTypes)) function.type = kTypes[*word];
  }
  function.path = reader.text("path").value_or("");
  if (!reader.missing("symbol", "name the function")) function.symbol = reader.text("symbol").value_or("");
  for (const YamlNode* item : reader.items("measure", kMeasures.size())) {
    function.measure.push_back(item->text);
    if (std::ranges::find(kMeasures, Words(item->text)) != kMeasures.end()) continue;
    reader.problems().add(*item, fmt::format("{}.measure must be {}, not {}{}", reader.path(), join_or(kMeasures),
                                             describe(*item), did_you_mean(item->text, kMeasures)));
  }
  if (!reader.find("measure")) function.measure = {"Calls"};
  if (auto bytes = reader.map("bytes")) {
    static constexpr std::array<Words, 2> kBytesFields{"argument", "abi"};
    static constexpr std::array<Words, 3> kAbis{"Auto", "C", "Go"};
    bytes->allow(kBytesFields);
    if (auto argument = bytes->integer("argument", 1, 6)) function.bytes_argument = static_cast<int>(*argument);
    function.bytes_abi = kAbis[bytes->word("abi", kAbis).value_or(0)];
  }
  if (auto errors = reader.map("errors")) {
    static constexpr std::array<Words, 1> kErrorFields{"when"};
    static constexpr std::array<Words, 3> kWhen{"Negative", "Null", "NonZero"};
    errors->allow(kErrorFields);
    if (auto word = errors->word("when", kWhen)) function.errors_when = kWhen[*word];
  }
  check_function(reader, function, namespaced);
  return function;
}

}  // namespace

void read_probes(MapReader& spec, Policy& policy, std::span<const ModuleEntry> modules) {
  static constexpr std::array<Words, 5> kFields{"name", "level", "sampleHistogramsEvery", "includeMetrics",
                                                "excludeMetrics"};
  auto known = probe_names(modules);
  std::set<std::string> seen;
  for (MapReader& reader : spec.maps("probes", kMostEntries)) {
    ProbeRequest request;
    reader.allow(kFields);
    for (const Words field : std::span(kFields).subspan(1)) {
      if (policy.mode != Mode::Exclude || !reader.find(field)) continue;
      reader.problems().add(*reader.find(field),
                            fmt::format("{}.{} has no effect with mode Exclude, where probes only lists what not to "
                                        "measure",
                                        reader.path(), field));
    }
    if (reader.missing("name", fmt::format("write one of {}", join(known)))) continue;
    request.name = reader.text("name").value_or("");
    const YamlNode& at = *reader.find("name");
    if (request.name.empty()) continue;
    if (std::ranges::find(known, Words(request.name)) == known.end()) {
      reader.problems().add(at, fmt::format("there is no probe {}{} (this build has {})", describe(at),
                                            did_you_mean(request.name, known), join(known)));
      continue;
    }
    // An alias and the name it stands for are one probe.
    int module = module_index(modules, request.name);
    std::string canonical =
        module < 0 ? "all" : std::string(modules[static_cast<std::size_t>(module)].module->info().name);
    if (!seen.insert(canonical).second) {
      reader.problems().add(at, fmt::format("the probe {} is listed twice, merge the entries", canonical));
    }
    if (auto word = reader.word("level", kLevels)) request.level = static_cast<Level>(*word);
    if (auto every = reader.integer("sampleHistogramsEvery", 1, 10'000)) {
      request.sample_histograms_every = static_cast<int>(*every);
    }
    request.include_metrics = read_metrics(reader, "includeMetrics", request.name, modules);
    request.exclude_metrics = read_metrics(reader, "excludeMetrics", request.name, modules);
    for (const std::string& metric : request.include_metrics) {
      if (std::ranges::find(request.exclude_metrics, metric) != request.exclude_metrics.end()) {
        reader.problems().add(reader.node(), fmt::format("{} both includes and excludes {}", reader.path(), metric));
      }
    }
    policy.probes.push_back(std::move(request));
  }
}

void read_functions(MapReader& spec, Policy& policy, bool namespaced) {
  std::set<std::string> seen;
  for (MapReader& reader : spec.maps("functions", kMostEntries)) {
    FunctionRequest function = read_function(reader, namespaced);
    if (!function.name.empty() && !seen.insert(function.name).second) {
      reader.problems().add(*reader.find("name"), fmt::format("the function {} is listed twice", function.name));
    }
    policy.functions.push_back(std::move(function));
  }
}

}  // namespace sonde
