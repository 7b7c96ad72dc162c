// SPDX-License-Identifier: Apache-2.0
// What each probe adds to the work that it watches: empty programs on the very hooks of the probe, the probe for a subject
// that is measured and for one that is not. Levels that ask for the same hooks as the one before are measured too; levels
// that ask for nothing are left out. Then the same with the kernel's statistics on: what a run of each program takes.
//   bench_modules [--rounds N] [--json FILE] [--module NAME]
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "tests/bench/loads.h"
#include "tests/bench/twins.h"
#include "tests/bench/variants.h"

namespace sonde::bench {
namespace {

struct Asked {
  const char* name;
  Level level;
  bool opt_in;
};
constexpr Asked kAsked[] = {{"Minimal", Level::Minimal, false},
                            {"Standard", Level::Standard, false},
                            {"Detailed", Level::Detailed, false},
                            {"with all that is opt-in", Level::Detailed, true}};

std::vector<Variant> variants_of(Probes& probes, const std::string& module) {
  std::vector<Variant> variants{nothing()};
  std::vector<std::string> before;
  for (const Asked& asked : kAsked) {
    const auto hooks = probes.hooks(module, asked.level, asked.opt_in);
    if (hooks.empty() || (asked.opt_in && hooks == before)) continue;
    if (hooks != before) {
      const auto twins = std::ranges::count_if(hooks, has_twin);
      const std::string of =
          twins == static_cast<std::ptrdiff_t>(hooks.size()) ? "" : fmt::format(" of {}", hooks.size());
      variants.push_back(empty_twins(fmt::format("{}{} empty programs", twins, of), hooks));
    }
    const std::string name = fmt::format("{} {}", module, asked.name);
    variants.push_back(probes.variant(name + ", measured", module, asked.level, true, asked.opt_in));
    variants.push_back(probes.variant(name + ", not measured", module, asked.level, false, asked.opt_in));
    before = hooks;
  }
  return variants;
}

}  // namespace
}  // namespace sonde::bench

int main(int argc, char** argv) {
  using namespace sonde;
  using namespace sonde::bench;
  int rounds = 40;
  std::string json_file, only;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--json") == 0) json_file = argv[i + 1];
    if (std::strcmp(argv[i], "--module") == 0) only = argv[i + 1];
  }
  const int cpu = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  utsname name{};
  uname(&name);
  Json json{{"kernel", name.release}, {"machine", name.machine}, {"rounds", rounds}, {"modules", Json::object()}};
  {
    const Boxes boxes;
    Probes probes(boxes);
    for (const ModuleEntry& entry : sonde::modules()) {
      const std::string module(entry.module->info().name);
      if (!only.empty() && only != module) continue;
      auto variants = variants_of(probes, module);
      if (variants.size() == 1) {
        fmt::print("\n{}: nothing to attach here\n", module);
        continue;
      }
      const Load& load = load_of(module);
      const Worker worker(load.workload, boxes.worker(), cpu);
      measure(variants, worker, load.n, rounds);
      json["modules"][module] = {{"work", load.title},
                                 {"variants", report(fmt::format("{}: {}", module, load.title), variants)}};
      json["modules"][module]["programs"] = report_programs(variants, worker, load.n, rounds / 4 + 1);
    }
  }
  if (!json_file.empty()) std::ofstream(json_file) << json.dump(2) << "\n";
  return 0;
}
