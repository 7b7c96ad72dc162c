// SPDX-License-Identifier: Apache-2.0
// What the agent itself costs over the number of containers, all of them active at preset Standard: the real binary as a
// child, exporting OTLP over gRPC with gzip and TLS to a receiver here. CPU is the child's own clock, so that others on
// the machine do not count; BPF programs run in the workload's time and are what bench_hooks measures.
//   bench_scale [--json FILE] [--agent PATH] [--sizes N,N…]
// A `d` behind a size: preset Detailed.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/base/text.h"
#include "tests/bench/containers.h"
#include "tests/bench/receiver.h"

namespace sonde::bench {
namespace {

using Json = nlohmann::ordered_json;
constexpr double kPeriod = 30;            // seconds: what the bar is stated for
constexpr double kMostCorePercent = 0.2;  // the bar, for 750 containers
constexpr uint32_t kBarSize = 750;
constexpr double kMostResidentMib = 40;
constexpr int kSettle = 4;       // seconds at least: start, and the second in which the BPF programs are timed
constexpr int kMostSettle = 60;  // 10,000 containers take 5 s of CPU time to enter
constexpr double kQuietMs = 20;  // of CPU time in a second: it has settled
constexpr int kIdle = 6;
constexpr int kCollections = 3;

struct Case {
  uint32_t containers;
  std::string preset;
};

struct Row {
  uint32_t containers = 0;
  std::string preset;
  double seen = 0;          // containers in a collection: fewer were not active in time
  double points = 0;        // per collection
  double cpu_ms = 0;        // per collection, export included
  double idle_percent = 0;  // of a core, between collections
  double core_percent = 0;  // at kPeriod
  double resident_mib = 0;  // without the pages of BPF maps, which maps_mib has
  double anonymous_mib = 0, maps_mib = 0;
  double start_ms = 0;  // CPU until it has settled
  double round_ms = 0;  // longest round of the workload
};

volatile sig_atomic_t interrupted = 0;

void pause_for(double seconds) {
  for (double left = seconds; left > 0 && !interrupted; left -= 0.1)
    usleep(static_cast<useconds_t>(std::min(left, 0.1) * 1e6));
}

// The agent as a child; killed with its parent.
class Child {
 public:
  explicit Child(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;

  bool alive() const { return kill(pid_, 0) == 0 && waitpid(pid_, nullptr, WNOHANG) == 0; }
  // User and system time of all its threads.
  double cpu_ms() const {
    clockid_t clock{};
    timespec time{};
    if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
  }
  double status_mib(std::string_view field) const {
    std::ifstream file(fmt::format("/proc/{}/status", pid_));
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(field)) return std::atof(line.c_str() + field.size() + 1) / 1024;
    }
    return 0;
  }
  // Pages of BPF maps in its memory.
  double mapped_maps_mib() const {
    std::ifstream file(fmt::format("/proc/{}/smaps", pid_));
    double kib = 0;
    bool of_map = false;
    for (std::string line; std::getline(file, line);) {
      if (line.find('-') < line.find(' ')) of_map = line.find("bpf-map") != std::string::npos;
      if (of_map && line.starts_with("Rss:")) kib += std::atof(line.c_str() + 4);
    }
    return kib / 1024;
  }

 private:
  pid_t pid_ = -1;
};

std::vector<std::string> agent_command(const std::string& binary, const Receiver& receiver, const Case& one,
                                       int interval) {
  std::vector<std::string> command{binary,
                                   "agent",
                                   "--log-level",
                                   "warn",
                                   "--interval",
                                   fmt::format("{}s", interval),
                                   "--export",
                                   "otlp",
                                   "--otlp-endpoint",
                                   receiver.endpoint(),
                                   "--otlp-ca",
                                   receiver.authority_file(),
                                   "--otlp-compression",
                                   "gzip",
                                   "--preset",
                                   one.preset,
                                   "--outside-containers",
                                   "false",
                                   "--overhead-millicpu",
                                   "0",
                                   "--http",
                                   "127.0.0.1:0",
                                   "--http-local",
                                   "127.0.0.1:0",
                                   "--grpc",
                                   "127.0.0.1:0"};
  // 50 series each are more than a node's limit as it comes. Kernel memory stays as it comes up to the size of the bar.
  for (const char* flag : {"--series-per-node", "--ceiling-series-per-node"}) {
    command.insert(command.end(), {flag, "2000000"});
  }
  if (one.containers > kBarSize) {
    command.insert(command.end(), {"--max-subjects", std::to_string(one.containers * 3 / 2 + 1000), "--max-histograms",
                                   std::to_string(one.containers * 24)});
  }
  return command;
}

// Until the start is over: two quiet seconds, one after the other.
void settle(const Child& agent) {
  pause_for(kSettle);
  for (int second = kSettle, quiet = 0; second < kMostSettle && quiet < 2 && !interrupted; ++second) {
    const double before = agent.cpu_ms();
    pause_for(1);
    quiet = agent.cpu_ms() - before < kQuietMs ? quiet + 1 : 0;
  }
}

// CPU per second of an agent that has nothing to collect for an hour.
double idle_ms_per_second(const std::string& binary, const Receiver& receiver, const Case& one) {
  const Child agent(agent_command(binary, receiver, one, 3600));
  settle(agent);
  const double before = agent.cpu_ms();
  pause_for(kIdle);
  return agent.alive() ? (agent.cpu_ms() - before) / kIdle : -1;
}

Row measure(const std::string& binary, Receiver& receiver, Containers& containers, const Case& one) {
  Row row{.containers = one.containers, .preset = one.preset};
  const double idle = idle_ms_per_second(binary, receiver, one);
  if (interrupted) return row;
  row.idle_percent = idle / 10;
  const int interval = one.containers <= 1000 ? 5 : 15;
  const Child agent(agent_command(binary, receiver, one, interval));
  settle(agent);
  containers.work(static_cast<uint64_t>(interval) * 1'000'000'000);
  row.start_ms = agent.cpu_ms();
  pause_for(2 * interval + 1.0);  // the first values of all series are made, and sent
  receiver.take();
  const double before = agent.cpu_ms();
  const double seconds = static_cast<double>(kCollections) * interval;
  pause_for(seconds);
  const double spent = agent.cpu_ms() - before;
  const Received received = receiver.take();
  row.resident_mib = agent.status_mib("VmRSS:") - agent.mapped_maps_mib();
  row.anonymous_mib = agent.status_mib("RssAnon:");
  row.round_ms = static_cast<double>(containers.rest()) * 1e-6;
  if (!agent.alive() || received.collections == 0) return row;
  const auto collections = static_cast<double>(received.collections);
  row.seen = static_cast<double>(received.resources) / collections;
  row.points = static_cast<double>(received.points) / collections;
  row.cpu_ms = std::max(0.0, spent - idle * seconds) / collections;
  row.core_percent = row.cpu_ms / kPeriod / 10 + row.idle_percent;
  row.maps_mib = static_cast<double>(received.map_bytes) / (1 << 20);
  return row;
}

void print(const Row& row) {
  fmt::print("{:>10} {:<9} {:>9.0f} {:>12.2f} {:>9.2f} {:>8.3f} {:>10.3f} {:>8.1f} {:>8.1f} {:>9.1f} {:>9.0f}\n",
             row.containers, row.preset, row.points, row.cpu_ms, row.points > 0 ? row.cpu_ms * 1e3 / row.points : 0,
             row.idle_percent, row.core_percent, row.resident_mib, row.anonymous_mib, row.maps_mib, row.round_ms);
  std::fflush(stdout);
}

Json json_of(const Row& row) {
  return {{"containers", row.containers},
          {"preset", row.preset},
          {"containers_seen", row.seen},
          {"points_per_collection", row.points},
          {"cpu_ms_per_collection", row.cpu_ms},
          {"cpu_us_per_point", row.points > 0 ? row.cpu_ms * 1e3 / row.points : 0},
          {"idle_percent_of_core", row.idle_percent},
          {"percent_of_core_at_30s", row.core_percent},
          {"resident_mib", row.resident_mib},
          {"resident_anonymous_mib", row.anonymous_mib},
          {"kernel_maps_mib", row.maps_mib},
          {"cpu_ms_until_settled", row.start_ms}};
}

int run(const std::string& binary, const std::vector<Case>& cases, const char* json) {
  for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, [](int) { interrupted = 1; });
  auto containers = Containers::prepare();  // forks, so before the receiver's threads
  if (!containers) {
    fmt::print(stderr, "bench_scale: {}\n", containers.error().message());
    return 1;
  }
  Receiver receiver;
  Json rows = Json::array();
  bool good = true;
  constexpr const char* kTitles = "{:>10} {:<9} {:>9} {:>12} {:>9} {:>8} {:>10} {:>8} {:>8} {:>9} {:>9}\n";
  fmt::print(fmt::runtime(kTitles), "", "", "", "CPU ms per", "us per", "idle %", "% of core", "RSS", "of it", "kernel",
             "workload");
  fmt::print(fmt::runtime(kTitles), "containers", "preset", "points", "collection", "point", "of core", "at 30 s",
             "MiB", "anon", "maps MiB", "ms");
  for (const Case& one : cases) {
    if (auto grown = containers->grow(one.containers); !grown) {
      fmt::print(stderr, "bench_scale: {}\n", grown.error().message());
      return 1;
    }
    const Row row = measure(binary, receiver, *containers, one);
    if (interrupted) return 130;
    print(row);
    rows.push_back(json_of(row));
    if (row.points <= 0 || row.seen < 0.9 * one.containers) {
      fmt::print(stderr, "bench_scale: only {:.0f} of {} containers arrived\n", row.seen, one.containers);
      good = false;
    }
  }
  fmt::print("bar for {} containers of 50 series: {} % of a core, {} MiB\n", kBarSize, kMostCorePercent,
             kMostResidentMib);
  if (json != nullptr) std::ofstream(json) << Json{{"benchmark", "scale"}, {"rows", rows}}.dump(1) << "\n";
  return good ? 0 : 1;
}

}  // namespace
}  // namespace sonde::bench

int main(int argc, char** argv) {
  const char* json = nullptr;
  std::string binary = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../../sonde";
  // Detailed: what 750 containers have when all probes' series of Standard move.
  std::vector<sonde::bench::Case> cases{{10, "Standard"},  {100, "Standard"},   {750, "Standard"},
                                        {750, "Detailed"}, {1'000, "Standard"}, {10'000, "Standard"}};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--json") == 0) json = argv[i + 1];
    if (std::strcmp(argv[i], "--agent") == 0) binary = argv[i + 1];
    if (std::strcmp(argv[i], "--sizes") == 0) {
      cases.clear();
      for (const std::string& word : sonde::split_list(argv[i + 1])) {
        cases.push_back(
            {static_cast<uint32_t>(std::atoi(word.c_str())), word.ends_with("d") ? "Detailed" : "Standard"});
      }
      std::ranges::stable_sort(cases, {}, &sonde::bench::Case::containers);
    }
  }
  if (access(binary.c_str(), X_OK) != 0) {
    fmt::print(stderr, "bench_scale: there is no agent at {}: build the target `sonde`, or give --agent PATH\n",
               binary);
    return 1;
  }
  try {
    return sonde::bench::run(binary, cases, json);
  } catch (const std::exception& failed) {
    fmt::print(stderr, "bench_scale: {}\n", failed.what());
    return 1;
  }
}
