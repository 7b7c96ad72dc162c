// SPDX-License-Identifier: Apache-2.0
// `sonde agent`: the service.
#include <malloc.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "agent/cli/cli.h"
#include "agent/cli/memory_plan.h"
#include "agent/identity/cgroup_root.h"
#include "agent/identity/target.h"
#include "agent/runtime/agent.h"
#include "agent/runtime/idle.h"
#include "agent/runtime/obstacle.h"

namespace sonde::cli {
namespace {

Service* running = nullptr;       // an agent that measures, or an idle one
volatile sig_atomic_t ended = 0;  // asked to end while none ran

void on_agent_signal(int signal) {
  if (signal == SIGHUP) {
    if (running) running->hurry();
    return;
  }
  ended = 1;
  if (running) running->stop();
}

void handle_signals() {
  struct sigaction action {};
  action.sa_handler = on_agent_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

struct StartFlags {
  std::map<std::string, std::string> settings;
  std::string file;
  bool check = false;
};

// Waits on a node that cannot be measured. True: it can be now.
bool wait_idle(const AgentOptions& options, const Obstacle& obstacle, Context& context) {
  auto idle = Idle::start({.config = options.loaded.config, .env = options.inputs.env, .obstacle = obstacle});
  if (!idle) {
    context.fail(idle.error().message(), kFailed);
    return false;
  }
  running = idle->get();
  handle_signals();
  const bool again = !ended && (*idle)->run() == Idle::End::CanMeasure;
  running = nullptr;
  if (!again) spdlog::info("stopped; nothing was measured");
  return again;
}

void measure(const AgentOptions& options, Context& context) {
  for (;;) {
    auto agent = Agent::start(options);
    if (agent) {
      running = agent->get();
      handle_signals();
      const bool excluded = !ended && (*agent)->run() == Agent::End::Excluded;
      running = nullptr;
      if (!excluded) return spdlog::info("flushed and stopped");
      const Obstacle everything = exclusion((*agent)->excluded_by());
      agent->reset();  // and with it all programs in the kernel
      if (!wait_idle(options, everything, context)) return;
      continue;
    }
    const auto obstacle = find_obstacle(options.loaded.config);
    if (!obstacle) return context.fail(agent.error().message(), kFailed);
    // Who started it by hand wants to know at once. What Kubernetes starts would be started again, and fail again.
    if (!is_kept_running(options.loaded.config, options.inputs.env)) return context.fail(obstacle->message, kFailed);
    if (!wait_idle(options, *obstacle, context)) return;
  }
}

// The process that is asked for must be there: else the agent was asked wrongly. A cgroup tree that cannot be used is another
// matter: there the agent may have to wait.
Result<void> check_target(const Config& config) {
  const auto root = find_cgroup_root({.configured = config.cgroup_root, .proc_root = config.proc_root});
  if (!root) return {};
  auto named = named_target(Proc(config.proc_root), root->path, config.target.pid, config.target.comm);
  return named ? Result<void>() : named.error();
}

void run_agent(const StartFlags& flags, Context& context) {
  // The log goes to standard error: standard output may be the export (--file -).
  log_to_stderr();
  AgentOptions options;
  auto loaded = read_config(flags.settings, flags.file, &options.inputs);
  if (!loaded) return context.fail(loaded.error().message());
  const auto memory = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto cpus = static_cast<uint32_t>(::sysconf(_SC_NPROCESSORS_CONF));
  if (auto fits = check_fits(loaded->config.limits, cpus, memory); !fits) return context.fail(fits.error().message());
  if (flags.check) {
    for (const auto& warning : loaded->warnings) std::fprintf(stderr, "sonde: warning: %s\n", warning.c_str());
    std::fputs(render_config(*loaded).c_str(), stdout);
    return;
  }
  if (auto named = check_target(loaded->config); !named) return context.fail(named.error().message());
  set_up_log(loaded->config.log);
  for (const auto& warning : loaded->warnings) spdlog::warn("{}", warning);
  // Each thread would get a heap of its own otherwise, and what one has freed is of no use to the others.
  mallopt(M_ARENA_MAX, 2);
  // Requests and the like, megabytes for a moment each, go back to the system: glibc would raise this bound by itself.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  options.loaded = std::move(*loaded);
  ::signal(SIGHUP, SIG_IGN);  // until there is an agent: what it would read again has just been read
  if (const char* program = std::getenv("SONDE_BREAK_PROGRAM")) options.break_program = program;
  if (const char* name = std::getenv("SONDE_ALTERNATIVE")) options.alternative = name;
  options.may_leave = true;
  measure(options, context);
}

}  // namespace

void add_agent_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("agent", "Run the agent: measure and export until stopped");
  auto flags = std::make_shared<StartFlags>();
  command->add_option("--config", flags->file, "YAML file with settings; see docs/ops/configuration.md")
      ->check(not_empty);
  command->add_flag("--check-config", flags->check,
                    "Check everything, print the effective configuration with its sources, and exit");
  add_settings(*command, flags->settings);
  command->callback([flags, &context] { run_agent(*flags, context); });
}

}  // namespace sonde::cli
