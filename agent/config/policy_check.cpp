// SPDX-License-Identifier: Apache-2.0
#include "agent/config/policy_check.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "agent/base/duration.h"
#include "agent/base/file.h"
#include "agent/base/json.h"
#include "agent/base/text.h"

namespace sonde {

namespace {

using Json = nlohmann::ordered_json;

struct CheckedPolicy {
  Policy policy;
  Decision decision;
  Estimate estimate;
};

struct CheckedFile {
  std::string path;
  std::vector<std::string> problems;
  std::vector<std::string> notes;
  std::vector<CheckedPolicy> policies;
};

// What is allowed and still deserves a word.
void add_advice(const CheckedPolicy& checked, std::vector<std::string>& notes) {
  auto note = [&](const std::string& sentence) {
    notes.push_back(fmt::format("{}: {}: {}", checked.policy.source, display_name(checked.policy), sentence));
  };
  std::string prefix = display_name(checked.policy) + ": ";
  for (const std::string& sentence : checked.decision.overridden) {
    note(sentence.starts_with(prefix) ? sentence.substr(prefix.size()) : sentence);
  }
  if (const Policy& policy = checked.policy; !policy.cgroups.empty() || !policy.commands.empty()) {
    note(fmt::format("selects by {}: for files only, the API server rejects it", policy.commands.empty() ? "cgroups"
                                                                                 : policy.cgroups.empty()
                                                                                     ? "commands"
                                                                                     : "cgroups and commands"));
  }
  if (checked.policy.mode == Mode::Exclude) return;
  if (!checked.decision.selected && checked.policy.functions.empty()) {
    note("enables nothing: write a preset, or a level for a probe");
  }
  if (checked.decision.selected && checked.estimate.series > checked.decision.series_per_container) {
    note(
        fmt::format("may reach {} series per container, more than seriesPerContainer {}: the rest is aggregated into "
                    "otel.metric.overflow",
                    checked.estimate.series, checked.decision.series_per_container));
  }
}

CheckedFile check_file(const std::string& path, const PolicyCheckOptions& options) {
  CheckedFile file;
  file.path = path;
  auto text = read_small_file(path);
  if (!text) {
    file.problems.push_back(text.error().message());
    return file;
  }
  PolicyFile parsed = parse_policies(*text, path, options.context.now_ns, options.context.modules);
  file.problems = std::move(parsed.problems);
  file.notes = std::move(parsed.notes);
  if (!file.problems.empty()) return file;
  if (parsed.policies.empty()) file.problems.push_back(fmt::format("{}:1:1: there is no policy in this file", path));
  for (Policy& policy : parsed.policies) {
    CheckedPolicy checked;
    checked.decision = resolve_alone(policy, options.context);
    checked.estimate = estimate(checked.decision, options.limits, options.context.modules);
    checked.policy = std::move(policy);
    add_advice(checked, file.notes);
    file.policies.push_back(std::move(checked));
  }
  return file;
}

// The file, or the policy files of the directory.
std::vector<std::string> files_of(const std::string& path) {
  std::error_code failed;
  if (!std::filesystem::is_directory(path, failed)) return {path};
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(path, failed)) {
    std::string name = entry.path().filename();
    bool policy = name.ends_with(".yaml") || name.ends_with(".yml");
    if (policy && name.front() != '.') found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

void check_names(std::vector<CheckedFile>& files) {
  std::map<std::string, std::string> seen;
  for (CheckedFile& file : files) {
    for (const CheckedPolicy& checked : file.policies) {
      auto [first, fresh] = seen.emplace(display_name(checked.policy), checked.policy.source);
      if (fresh) continue;
      file.problems.push_back(fmt::format("{}:1: the policy '{}' is already in {}: names must be unique",
                                          checked.policy.source, first->first, first->second));
    }
  }
}

std::string what_it_asks(const CheckedPolicy& checked, std::span<const ModuleEntry> modules) {
  if (checked.policy.mode == Mode::Exclude) return "what it selects is never watched";
  std::vector<std::string> probes;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    Level level = checked.decision.probes[i].level;
    const int whole = module_index(modules, modules[i].module->info().part_of);
    if (whole >= 0 && checked.decision.probes[static_cast<std::size_t>(whole)].level == level) continue;
    if (level != Level::None) probes.push_back(fmt::format("{} {}", modules[i].module->info().name, word_of(level)));
  }
  const TraceSettings& traces = checked.decision.traces;
  if (!traces.policy.empty()) {
    std::vector<std::string_view> recorded;
    for (unsigned i = 0; i < kSpanOperations; ++i) {
      if (traces.records(static_cast<SpanOperation>(i))) recorded.push_back(word_of(static_cast<SpanOperation>(i)));
    }
    probes.push_back("spans of " + join(recorded, " "));
  }
  if (probes.empty()) return "no probe";
  return fmt::format("{}; per {}, every {}, {}", join(probes), lower(word_of(checked.decision.granularity)),
                     format_duration(checked.decision.period_ms * kMillisecond), word_of(checked.decision.cleanup));
}

void write_estimate(std::string& out, const Estimate& estimate, const KernelLimits& limits) {
  out += fmt::format("    {:<12}{:<10}{:>22}{:>12}{:>18}\n", "probe", "level", "series per subject", "histograms",
                     "ns per operation");
  for (const ProbeEstimate& probe : estimate.probes) {
    out += fmt::format("    {:<12}{:<10}{:>22}{:>12}{:>18}\n", probe.probe, word_of(probe.level),
                       fmt::format("{}{}", probe.series, probe.keyed_series ? "+" : ""), probe.histograms,
                       probe.ns_per_event);
  }
  bool keyed = std::ranges::any_of(estimate.probes, &ProbeEstimate::keyed_series);
  out += fmt::format("    at most {} series and {} histograms per subject{}\n", estimate.series, estimate.histograms,
                     keyed ? "; +: plus one per type of error or operation that occurs" : "");
  out += fmt::format("    kernel memory {:.1f} MiB for {} subjects and {} histograms (the agent's limits)\n",
                     static_cast<double>(estimate.kernel_bytes) / (1 << 20), limits.slots, limits.histogram_rows);
}

std::string as_text(const std::vector<CheckedFile>& files, const PolicyCheckOptions& options) {
  std::string out;
  for (const CheckedFile& file : files) {
    for (const std::string& note : file.notes) out += "note: " + note + "\n";
    if (!file.problems.empty()) continue;
    out += fmt::format("{}: good, {} {}\n", file.path, file.policies.size(),
                       file.policies.size() == 1 ? "policy" : "policies");
    for (const CheckedPolicy& checked : file.policies) {
      out += fmt::format("  {}: {}\n", display_name(checked.policy), what_it_asks(checked, options.context.modules));
      if (options.estimate && checked.decision.selected) write_estimate(out, checked.estimate, options.limits);
    }
  }
  return out;
}

Json estimate_json(const Estimate& estimate) {
  Json probes = Json::array();
  for (const ProbeEstimate& probe : estimate.probes) {
    probes.push_back({{"probe", probe.probe},
                      {"level", word_of(probe.level)},
                      {"series", probe.series},
                      {"histograms", probe.histograms},
                      {"keyedSeries", probe.keyed_series},
                      {"nsPerOperation", probe.ns_per_event}});
  }
  return {{"seriesPerSubject", estimate.series},
          {"histogramsPerSubject", estimate.histograms},
          {"kernelBytes", estimate.kernel_bytes},
          {"probes", probes}};
}

std::string as_json(const std::vector<CheckedFile>& files, const PolicyCheckOptions& options, bool good) {
  Json list = Json::array();
  for (const CheckedFile& file : files) {
    Json policies = Json::array();
    for (const CheckedPolicy& checked : file.policies) {
      Json policy = {{"name", display_name(checked.policy)},
                     {"source", checked.policy.source},
                     {"mode", word_of(checked.policy.mode)},
                     {"priority", checked.policy.priority}};
      if (checked.decision.selected) {
        policy["periodSeconds"] = checked.decision.period_ms / 1000.0;
        policy["granularity"] = word_of(checked.decision.granularity);
        policy["cleanup"] = word_of(checked.decision.cleanup);
        if (options.estimate) policy["estimate"] = estimate_json(checked.estimate);
      }
      policies.push_back(std::move(policy));
    }
    list.push_back({{"file", file.path},
                    {"good", file.problems.empty()},
                    {"problems", file.problems},
                    {"notes", file.notes},
                    {"policies", policies}});
  }
  // Names of files need not be UTF-8.
  return json_text(Json({{"good", good}, {"files", list}}), 2) + "\n";
}

}  // namespace

PolicyCheck check_policies(const std::vector<std::string>& paths, const PolicyCheckOptions& options) {
  std::vector<CheckedFile> files;
  for (const std::string& path : paths) {
    const auto below = files_of(path);
    for (const std::string& file : below) files.push_back(check_file(file, options));
    if (below.empty()) {
      files.emplace_back().path = path;
      files.back().problems.push_back(path + ": this directory contains no .yaml or .yml files");
    }
  }
  check_names(files);
  bool good = std::ranges::all_of(files, [](const CheckedFile& file) { return file.problems.empty(); });
  PolicyCheck check;
  check.exit_code = good ? 0 : 2;
  if (options.json) {
    check.output = as_json(files, options, good);
    return check;
  }
  check.output = as_text(files, options);
  std::vector<std::string> problems;
  for (CheckedFile& file : files) std::ranges::move(file.problems, std::back_inserter(problems));
  check.problems = join(problems, "\n");
  return check;
}

}  // namespace sonde
