// SPDX-License-Identifier: Apache-2.0
// `sonde doctor`: can this machine run each probe, if not why, and what to do. Exit code 0, 1 (warnings), 2 (failures).
#include <memory>
#include <spdlog/fmt/fmt.h>

#include "agent/base/text.h"
#include "agent/cli/checks.h"
#include "agent/cli/cli.h"
#include "agent/cli/memory_plan.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

constexpr uint32_t kContainers = 750;  // a full node
constexpr uint32_t kCpus = 128;

Check memory_check(const KernelLimits& limits) {
  auto plan = make_memory_plan(limits, kContainers, kCpus);
  if (!plan) return {"kernel memory", Verdict::Failure, plan.error().message(), "the binary is damaged: reinstall it"};
  Check check{"kernel memory", Verdict::Ok,
              fmt::format("{} for {} containers on {} CPUs (`sonde doctor --plan` has the details)",
                          bytes_text(static_cast<double>(plan->bytes())), plan->containers, plan->cpus),
              ""};
  if (plan->fits() && !plan->raised) return check;
  check.verdict = Verdict::Warning;
  check.remedy = "more than 64 MiB: lower limits.subjects, limits.histograms or limits.processes";
  if (plan->fits()) {
    check.remedy =
        fmt::format("a full node has about {} containers: raise limits.subjects to {} and limits.histograms to {}",
                    kContainers, plan->limits.slots, plan->limits.histogram_rows);
  }
  return check;
}

struct DoctorFlags {
  std::map<std::string, std::string> settings;
  std::string file;
  std::string format = "table";
  std::string btf;
  bool plan = false;
  uint32_t containers = kContainers;
  uint32_t cpus = kCpus;
};

void show_plan(const DoctorFlags& flags, const KernelLimits& limits, Context& context) {
  auto plan = make_memory_plan(limits, flags.containers, flags.cpus);
  if (!plan) return context.fail(plan.error().message(), kFailed);
  fmt::print("{}", flags.format == "json" ? plan_json(*plan) : plan_text(*plan));
  context.code = plan->fits() ? kOk : kFailed;
}

void show_offline(const DoctorFlags& flags, Context& context) {
  const auto checks = offline_checks(flags.btf);
  if (!checks) return context.fail(checks.error().message(), kFailed);
  fmt::print("{}", flags.format == "json" ? checks_json(*checks) : checks_text(*checks));
  context.code = checks_code(*checks);
}

void run_doctor(const DoctorFlags& flags, Context& context) {
  if (!flags.btf.empty()) return show_offline(flags, context);
  auto loaded = read_config(flags.settings, flags.file);
  if (!loaded) return context.fail(loaded.error().message());
  const Config& config = loaded->config;
  if (flags.plan) return show_plan(flags, config.limits, context);
  std::vector<Check> checks = machine_checks(config.cgroup_root, config.proc_root);
  for (Check& check : probe_checks()) checks.push_back(std::move(check));
  checks.push_back(memory_check(config.limits));
  fmt::print("{}", flags.format == "json" ? checks_json(checks) : checks_text(checks));
  context.code = checks_code(checks);
}

auto whole_number(int64_t least, int64_t most) {
  return [least, most](const std::string& word) {
    return parse_integer(word, least, most)
               ? std::string()
               : fmt::format("must be a whole number from {} to {}, not '{}'", least, most, word);
  };
}

}  // namespace

void add_doctor_command(CLI::App& app, Context& context) {
  auto* command =
      app.add_subcommand("doctor", "Check whether this machine can run each probe, and how to fix what is missing");
  auto flags = std::make_shared<DoctorFlags>();
  command->add_option("--config", flags->file, "The agent's configuration file")->check(not_empty);
  auto* plan =
      command->add_flag("--plan", flags->plan, "Show the kernel memory of all probes; exit code 1 if more than 64 MiB");
  command->add_option("--containers", flags->containers, "With --plan: number of containers")
      ->needs(plan)
      ->check(whole_number(1, 100'000))
      ->default_str(std::to_string(kContainers));
  command->add_option("--cpus", flags->cpus, "With --plan: number of possible CPUs")
      ->needs(plan)
      ->check(whole_number(1, 8192))
      ->default_str(std::to_string(kCpus));
  command
      ->add_option("--btf", flags->btf,
                   "Check which programs would load on another kernel, given its BTF (a copy of "
                   "/sys/kernel/btf/vmlinux, or a vmlinux)")
      ->check(CLI::ExistingFile)
      ->excludes(plan);
  add_output_flag(*command, flags->format);
  for (const char* name : {"cgroup-root", "proc-root"}) {
    command->add_option_function<std::string>(
        std::string("--") + name, [flags, name](const std::string& value) { flags->settings[name] = value; },
        "As for `sonde agent`");
  }
  command->callback([flags, &context] { run_doctor(*flags, context); });
}

}  // namespace sonde::cli
