// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/variants.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include <bpf/bpf.h>
#include <spdlog/fmt/fmt.h>

#include "agent/base/fd.h"
#include "agent/identity/cgroup_root.h"
#include "agent/policy/resolve.h"

namespace sonde::bench {

Variant nothing() {
  return {"nothing", [] { return true; }, [] {}};
}

double quartile(std::vector<double> ns) {
  if (ns.empty()) return -1;
  std::ranges::sort(ns);
  return ns[ns.size() / 4];
}

void measure(std::vector<Variant>& variants, const Worker& worker, uint64_t n, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (Variant& variant : variants) {
      if (variant.slow || !variant.attach()) continue;
      worker.run(n / 10);
      variant.ns.push_back(worker.run(n));
      variant.detach();
    }
    if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r  round {} of {} ", round + 1, rounds);
  }
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r{:30}\r", "");
  for (Variant& variant : variants) {
    if (!variant.slow) continue;
    if (variant.attach()) {
      for (int round = 0; round < rounds; ++round) variant.ns.push_back(worker.run(n));
    }
    variant.detach();
  }
}

Json report(const std::string& title, const std::vector<Variant>& variants) {
  const double nothing = quartile(variants[0].ns);
  double empty = 0;
  Json rows = Json::array();
  fmt::print("\n{} ({:.0f} ns with nothing attached)\n{:<44}{:>12}{:>10}\n", title, nothing, "", "added ns", "x empty");
  for (const Variant& variant : variants) {
    const double ns = quartile(variant.ns);
    if (ns < 0) {
      fmt::print("{:<44}{:>12}\n", variant.name, "not here");
      continue;
    }
    const double added = ns - nothing;
    if (variant.reference) empty = added;
    rows.push_back({{"variant", variant.name}, {"ns", ns}, {"added_ns", added}});
    if (empty > 0) rows.back()["ratio"] = added / empty;
    fmt::print("{:<44}{:>12.1f}{:>10}\n", variant.name, added, empty > 0 ? fmt::format("{:.2f}", added / empty) : "");
  }
  return rows;
}

Json report_programs(std::vector<Variant>& variants, const Worker& worker, uint64_t n, int rounds) {
  struct Figures {
    uint64_t runs = 0;
    std::vector<double> ns;
  };
  std::vector<std::map<std::string, Figures>> figures(variants.size());
  const Fd statistics(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!statistics) return Json::array();
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < variants.size(); ++i) {
      Variant& variant = variants[i];
      if (!variant.programs || !variant.attach()) continue;
      worker.run(n / 10);
      const auto before = variant.programs();
      worker.run(n);
      const auto after = variant.programs();
      variant.detach();
      for (std::size_t j = 0; j < after.size() && j < before.size(); ++j) {
        const uint64_t runs = after[j].runs - before[j].runs;
        if (runs * 10 < n) continue;  // of something else that went on
        Figures& program = figures[i][after[j].program];
        program.runs += runs;
        program.ns.push_back(static_cast<double>(after[j].run_time_ns - before[j].run_time_ns) /
                             static_cast<double>(runs));
      }
    }
  }
  Json rows = Json::array();
  fmt::print("{:<44}{:>34}{:>8}{:>8}\n", "", "program", "runs", "ns each");
  for (std::size_t i = 0; i < variants.size(); ++i) {
    for (const auto& [name, program] : figures[i]) {
      const double runs = static_cast<double>(program.runs) / static_cast<double>(n * program.ns.size());
      fmt::print("{:<44}{:>34}{:>8.2f}{:>8.1f}\n", variants[i].name, name, runs, quartile(program.ns));
      rows.push_back({{"variant", variants[i].name}, {"program", name}, {"runs", runs}, {"ns", quartile(program.ns)}});
    }
  }
  return rows;
}

Boxes::Boxes() {
  const auto root = find_cgroup_root();
  if (!root || geteuid() != 0) {
    fmt::print(stderr, "{}\n", root ? "measuring programs needs root" : root.error().message());
    std::exit(1);
  }
  worker_ = root->path + "/sonde-bench-" + std::to_string(getpid());
  other_ = worker_ + "-other";
  mkdir(worker_.c_str(), 0755);
  mkdir(other_.c_str(), 0755);
}

Boxes::~Boxes() {
  rmdir(worker_.c_str());
  rmdir(other_.c_str());
}

Probes::Probes(const Boxes& boxes) {
  EngineOptions options;
  options.slots = 64;
  auto engine = Engine::start(options);
  if (!engine) {
    fmt::print(stderr, "{}\n", engine.error().message());
    std::exit(1);
  }
  engine_ = std::move(*engine);
  const std::string* paths[] = {&boxes.worker(), &boxes.other()};
  for (int i = 0; i < 2; ++i) {
    slots_[i] = *engine_->slots().enter(*cgroup_id(*paths[i]), 0, "/bench", SONDE_KIND_CONTAINER);
  }
}

void Probes::ask(const SlotSetting& worker, const SlotSetting& other) {
  engine_->configure(slots_[0], worker);
  engine_->configure(slots_[1], other);
  engine_->sync_programs();
}

Variant Probes::variant(const std::string& name, const SlotSetting& wanted, bool selected) {
  return {name,
          [this, wanted, selected] {
            selected ? ask(wanted, {}) : ask({}, wanted);
            return true;
          },
          [this] { ask({}, {}); },
          false,
          false,
          [this] { return engine_->program_stats(); }};
}

Variant Probes::variant(const std::string& name, const std::string& probe, Level level, bool selected, bool opt_in) {
  return variant(name, setting(probe, level, opt_in), selected);
}

Variant Probes::preset(const std::string& name, Level level, bool selected) {
  Policy policy;
  policy.preset = level;
  return variant(name, setting(policy), selected);
}

std::vector<std::string> Probes::hooks(const SlotSetting& wanted, const std::string& probe) {
  std::vector<std::string> found;
  ask({}, wanted);
  for (const ModuleReport& module : engine_->modules()) {
    if (!probe.empty() && module.name != probe) continue;
    for (const ProgramReport& program : module.programs) {
      if (program.state == ProgramState::Attached) found.push_back(program.hook);
    }
  }
  ask({}, {});
  return found;
}

std::vector<std::string> Probes::hooks(const std::string& probe, Level level, bool opt_in) {
  return hooks(setting(probe, level, opt_in), probe);
}

std::vector<std::string> Probes::preset_hooks(Level level) {
  Policy policy;
  policy.preset = level;
  return hooks(setting(policy), "");
}

SlotSetting Probes::setting(const Policy& policy) {
  const Decision decision = resolve_alone(policy, {});
  SlotSetting setting;
  for (std::size_t i = 0; i < decision.probes.size(); ++i) setting.flags[i] = decision.probes[i].flags;
  return setting;
}

SlotSetting Probes::setting(const std::string& probe, Level level, bool opt_in) {
  Policy policy;
  policy.preset = Level::None;
  ProbeRequest request;
  request.name = probe;
  request.level = level;
  if (opt_in) {
    for (const MetricSpec& metric :
         sonde::modules()[static_cast<std::size_t>(find_module(probe))].module->info().metrics) {
      request.include_metrics.emplace_back(metric.name);
    }
  }
  policy.probes.push_back(request);
  return setting(policy);
}

}  // namespace sonde::bench
