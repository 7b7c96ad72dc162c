// SPDX-License-Identifier: Apache-2.0
// `sonde doctor`: can this machine run each probe, if not why, and what to do. Exit code 0, 1 (warnings), 2 (failures).
#include <memory>
#include <spdlog/fmt/fmt.h>

#include "agent/cli/checks.h"
#include "agent/cli/cli.h"
#include "agent/cli/terminal.h"
#include "agent/policy/estimate.h"

namespace sonde::cli {
namespace {

constexpr int kExampleContainers = 750;

// Kernel memory is the same for any number of CPUs: no row is per CPU.
std::vector<Check> plan_checks(const KernelLimits& limits) {
  Decision all;
  const uint64_t bytes = kernel_bytes(limits, all, modules());
  Check check{"kernel memory", Verdict::Ok,
              fmt::format("{} for {} subjects, {} histograms and {} processes, on any number of CPUs",
                          bytes_text(static_cast<double>(bytes)), limits.slots, limits.histogram_rows, limits.processes),
              ""};
  if (bytes > 64ULL << 20) {
    check.verdict = Verdict::Warning;
    check.remedy = "more than 64 MiB: lower limits.subjects or limits.histograms";
  } else if (limits.slots < kExampleContainers + 2) {
    check.verdict = Verdict::Warning;
    check.remedy = fmt::format("a full node has some {} containers: raise limits.subjects", kExampleContainers);
  }
  return {check};
}

struct Flags {
  std::map<std::string, std::string> settings;
  std::string file;
  std::string format = "table";
  bool plan = false;
};

void run_doctor(const Flags& flags, Context& context) {
  auto loaded = read_config(flags.settings, flags.file);
  if (!loaded) return context.fail(loaded.error().message());
  const Config& config = loaded->config;
  std::vector<Check> checks;
  if (!flags.plan) {
    checks = machine_checks(config.cgroup_root, config.proc_root);
    for (Check& check : probe_checks()) checks.push_back(std::move(check));
  }
  for (Check& check : plan_checks(config.limits)) checks.push_back(std::move(check));
  fmt::print("{}", flags.format == "json" ? checks_json(checks) : checks_text(checks));
  context.code = checks_code(checks);
}

}  // namespace

void add_doctor_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("doctor", "Can this machine run each probe; if not, why and what to do");
  auto flags = std::make_shared<Flags>();
  command->add_option("--config", flags->file, "The agent's configuration file")->check(not_empty);
  command->add_flag("--plan", flags->plan, "Only the arithmetic of kernel memory");
  add_output_flag(*command, flags->format);
  for (const char* name : {"cgroup-root", "proc-root"}) {
    command->add_option_function<std::string>(
        std::string("--") + name, [flags, name](const std::string& value) { flags->settings[name] = value; },
        "As for `sonde agent`");
  }
  command->callback([flags, &context] { run_doctor(*flags, context); });
}

}  // namespace sonde::cli
