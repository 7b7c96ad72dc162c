// SPDX-License-Identifier: Apache-2.0
// `sonde policy check FILE…`: what a policy file says, what is wrong with it, and what it would cost.
#include <cstdio>
#include <memory>

#include "agent/base/clock.h"
#include "agent/cli/cli.h"
#include "agent/config/policy_check.h"

namespace sonde::cli {
namespace {

struct PolicyFlags {
  std::vector<std::string> paths;
  std::string format = "table";
  bool estimate = false;
};

void run_check(const PolicyFlags& flags, Context& context) {
  // Ceilings and limits are those of this machine's configuration.
  auto loaded = read_config({}, "");
  if (!loaded) return context.fail(loaded.error().message());
  PolicyCheckOptions options;
  options.context = loaded->config.resolve_context(false, realtime_ns());
  options.limits = loaded->config.limits;
  options.estimate = flags.estimate;
  options.json = flags.format == "json";
  const PolicyCheck check = check_policies(flags.paths, options);
  std::fputs(check.output.c_str(), stdout);
  if (!check.problems.empty()) context.fail(check.problems);
  context.code = check.exit_code;
}

}  // namespace

void add_policy_command(CLI::App& app, Context& context) {
  auto* policy = app.add_subcommand("policy", "Work with policy files");
  policy->require_subcommand(1);
  auto* check = policy->add_subcommand("check", "Validate policy files and estimate their cost");
  auto flags = std::make_shared<PolicyFlags>();
  check->add_option("FILE", flags->paths, "Policy files or directories")->required();
  check->add_flag("--estimate", flags->estimate,
                  "Also estimate series per container, time per event and kernel memory");
  add_output_flag(*check, flags->format);
  check->callback([flags, &context] { run_check(*flags, context); });
}

}  // namespace sonde::cli
