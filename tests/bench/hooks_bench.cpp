// SPDX-License-Identifier: Apache-2.0
// What a hook adds to a read(2) and to a context switch (the tables of tests/bench/loads.h): nothing attached, empty programs,
// Sonde for a selected and for an unselected subject, and other tools that answer a similar question. All in one run, variants
// interleaved, so that other work on the machine affects all alike; the lower quartile of the rounds counts.
//   bench_hooks [--rounds N] [--json FILE]
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <bpf/libbpf.h>
#include <spdlog/fmt/fmt.h>

#include "tests/bench/loads.h"
#include "tests/bench/variants.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include "empty.skel.h"
#pragma GCC diagnostic pop

namespace sonde::bench {
namespace {

constexpr unsigned kToolStart = 3;  // seconds until a tool has attached

class EmptyPrograms {
 public:
  EmptyPrograms() : skeleton_(empty_bpf__open_and_load()) {}
  ~EmptyPrograms() { empty_bpf__destroy(skeleton_); }

  Variant variant(const std::string& name, std::vector<std::string> programs) {
    return {name,
            [this, programs] {
              for (const auto& one : programs) {
                links_.push_back(bpf_program__attach(bpf_object__find_program_by_name(skeleton_->obj, one.c_str())));
              }
              return std::ranges::all_of(links_, [](bpf_link* link) { return link != nullptr; });
            },
            [this] {
              for (bpf_link* link : links_) bpf_link__destroy(link);
              links_.clear();
            }};
  }

 private:
  empty_bpf* skeleton_;
  std::vector<bpf_link*> links_;
};

// A tool from a package, in a process of its own.
Variant tool(const std::string& name, std::vector<std::string> command) {
  auto child = std::make_shared<pid_t>(-1);
  return {name,
          [child, command] {
            if (access(command[0].c_str(), X_OK) != 0) return false;
            *child = fork();
            if (*child == 0) {
              std::vector<char*> arguments;
              for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
              arguments.push_back(nullptr);
              if (!std::freopen("/dev/null", "w", stdout) || !std::freopen("/dev/null", "w", stderr)) _exit(126);
              execv(arguments[0], arguments.data());
              _exit(127);
            }
            sleep(kToolStart);
            int status = 0;
            return waitpid(*child, &status, WNOHANG) == 0;
          },
          [child] {
            if (*child > 0 && kill(*child, SIGINT) == 0) waitpid(*child, nullptr, 0);
            *child = -1;
          },
          true};
}

// The tools look tracepoints up in tracefs. Mounted for this process alone, so nothing stays behind.
void mount_tracefs() {
  if (access("/sys/kernel/tracing/events", F_OK) == 0) return;
  if (unshare(CLONE_NEWNS) || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) return;
  if (mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, nullptr))
    fmt::print(stderr, "no tracefs: peers may not run\n");
}

}  // namespace
}  // namespace sonde::bench

int main(int argc, char** argv) {
  using namespace sonde;
  using namespace sonde::bench;
  int rounds = 60;
  std::string json_file;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--json") == 0) json_file = argv[i + 1];
  }
  mount_tracefs();
  const int cpu = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  utsname name{};
  uname(&name);
  Json json{{"kernel", name.release}, {"machine", name.machine}, {"rounds", rounds}};
  {
    EmptyPrograms empty;
    const Boxes boxes;
    Probes sonde(boxes);
    for (const HookTable& table : hook_tables()) {
      std::vector<Variant> variants{nothing()};
      for (const auto& [title, programs] : table.empty) {
        variants.push_back(empty.variant(title, programs));
        variants.back().reference = variants.size() == 2;
      }
      for (const auto& [level, selected] : table.levels) {
        const std::string title =
            fmt::format("Sonde {} {}, {}", table.probe, word_of(level), selected ? "selected" : "not selected");
        variants.push_back(sonde.variant(title, table.probe, level, selected));
      }
      for (const auto& [title, command] : table.tools) variants.push_back(tool(title, command));
      measure(variants, Worker(table.workload, boxes.worker(), cpu), table.n, rounds);
      json[table.key] = report(table.title, variants);
      std::fflush(stdout);  // or the process of a tool writes it once more
    }
  }
  if (!json_file.empty()) std::ofstream(json_file) << json.dump(2) << "\n";
  return 0;
}
