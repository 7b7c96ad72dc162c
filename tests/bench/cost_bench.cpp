// SPDX-License-Identifier: Apache-2.0
// What the presets, and each probe by itself, add to five operations: empty programs on the same hooks, a measured
// subject, one that is not measured. `make cost` runs it in a virtual machine whose clock advances by one nanosecond per
// instruction (tests/bench/cost): the nanoseconds are instructions there, the same on any host.
//   bench_cost [--rounds N] [--json FILE]
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "tests/bench/loads.h"
#include "tests/bench/twins.h"
#include "tests/bench/variants.h"

namespace sonde::bench {
namespace {

Run read_one() {
  const int file = scratch_file("/var/tmp");
  if (file < 0) return {};
  return timed([file] {
    char byte = 0;
    must(pread(file, &byte, 1, 0) == 1);
  });
}

Run read_page() { return read_pages(0); }

// A system call that no probe measures.
Run ask_parent() {
  return timed([] { must(syscall(SYS_getppid) >= 0); });
}

struct Operation {
  std::string_view key;
  std::string_view title;
  Workload workload;
  uint64_t n;
};
const std::vector<Operation>& operations() {
  static const std::vector<Operation> kAll{
      {"read", "pread(2) of one byte of a cached file", read_one, 4'000},
      {"read_page", "pread(2) of a cached page", read_page, 4'000},
      {"getppid", "getppid(2), which no probe measures", ask_parent, 8'000},
      {"switch", "context switch, two for a byte back and forth over pipes", switch_contexts, 4'000},
      {"tcp", "64 bytes back and forth over loopback", load_of("network").workload, 1'500},
  };
  return kAll;
}

// Standard is what users get; Minimal is the least that counts.
std::vector<Variant> presets(Probes& probes) {
  std::vector<Variant> variants{nothing(), empty_twins("empty programs, Standard", probes.preset_hooks(Level::Standard))};
  for (const auto& [name, level] : {std::pair{"Standard", Level::Standard}, {"Minimal", Level::Minimal}}) {
    variants.push_back(probes.preset(fmt::format("{}, measured", name), level, true));
    variants.push_back(probes.preset(fmt::format("{}, not measured", name), level, false));
  }
  return variants;
}

void add_each_probe(std::vector<Variant>& variants, Probes& probes) {
  for (const ModuleEntry& entry : sonde::modules()) {
    const std::string name(entry.module->info().name);
    if (probes.hooks(name, Level::Standard).empty()) continue;
    variants.push_back(probes.variant(name + ", measured", name, Level::Standard, true));
    variants.push_back(probes.variant(name + ", not measured", name, Level::Standard, false));
  }
}

// Attaching takes longer than the work: each variant is attached once a round, for all operations.
std::vector<std::vector<Variant>> measure_all(const std::vector<Variant>& variants, const Boxes& boxes, int rounds) {
  const int cpu = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  std::vector<std::unique_ptr<Worker>> workers;
  for (const Operation& operation : operations()) {
    workers.push_back(std::make_unique<Worker>(operation.workload, boxes.worker(), cpu));
  }
  std::vector<std::vector<Variant>> measured(workers.size(), variants);
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t v = 0; v < variants.size(); ++v) {
      if (!variants[v].attach()) continue;
      for (std::size_t o = 0; o < workers.size(); ++o) {
        const uint64_t n = operations()[o].n;
        workers[o]->run(n / 10);
        measured[o][v].ns.push_back(workers[o]->run(n));
      }
      variants[v].detach();
    }
  }
  // The last first: it holds copies of the pipes by which those before it are told to end.
  while (!workers.empty()) workers.pop_back();
  return measured;
}

int run(int rounds, const std::string& json_file) {
  utsname name{};
  uname(&name);
  Json json{{"kernel", name.release}, {"machine", name.machine}, {"operations", Json::object()}};
  const Boxes boxes;
  Probes probes(boxes);
  auto variants = presets(probes);
  add_each_probe(variants, probes);
  const auto measured = measure_all(variants, boxes, rounds);
  bool all = true;
  for (std::size_t i = 0; i < operations().size(); ++i) {
    const Operation& operation = operations()[i];
    all = all && quartile(measured[i][0].ns) > 0;
    json["operations"][std::string(operation.key)] = report(std::string(operation.title), measured[i]);
  }
  if (!json_file.empty() && !(std::ofstream(json_file) << json.dump(2) << '\n')) return 1;
  return all ? 0 : 1;
}

}  // namespace
}  // namespace sonde::bench

int main(int argc, char** argv) {
  int rounds = 20;
  std::string json_file;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::max(1, std::atoi(argv[i + 1]));
    if (std::strcmp(argv[i], "--json") == 0) json_file = argv[i + 1];
  }
  return sonde::bench::run(rounds, json_file);
}
