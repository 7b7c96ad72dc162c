// SPDX-License-Identifier: Apache-2.0
// `sonde agent`: the service.
#include <malloc.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "agent/cli/checks.h"
#include "agent/cli/cli.h"
#include "agent/runtime/agent.h"

namespace sonde::cli {
namespace {

Agent* running = nullptr;

void on_signal(int signal) {
  if (!running) return;
  if (signal == SIGHUP) {
    running->reload();
  } else {
    running->stop();
  }
}

void handle_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

struct AgentFlags {
  std::map<std::string, std::string> settings;
  std::string file;
  bool check = false;
};

void run_agent(const AgentFlags& flags, Context& context) {
  // The log goes to standard error: standard output may be the export (--file -).
  log_to_stderr();
  AgentOptions options;
  auto loaded = read_config(flags.settings, flags.file, &options.inputs);
  if (!loaded) return context.fail(loaded.error().message());
  if (flags.check) {
    for (const auto& warning : loaded->warnings) std::fprintf(stderr, "sonde: warning: %s\n", warning.c_str());
    std::fputs(render_config(*loaded).c_str(), stdout);
    return;
  }
  set_up_log(loaded->config.log);
  for (const auto& warning : loaded->warnings) spdlog::warn("{}", warning);
  if (!may_load_programs()) {
    return context.fail("the agent loads BPF programs: run it as root, or with the capabilities BPF and PERFMON", kFailed);
  }
  // Each thread would get a heap of its own otherwise, and what one has freed is of no use to the others.
  mallopt(M_ARENA_MAX, 2);
  // Requests and the like, megabytes for a moment each, go back to the system: glibc would raise this bound by itself.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  options.loaded = std::move(*loaded);
  if (const char* program = std::getenv("SONDE_BREAK_PROGRAM")) options.break_program = program;
  if (const char* name = std::getenv("SONDE_ALTERNATIVE")) options.alternative = name;
  auto agent = Agent::start(std::move(options));
  if (!agent) {
    std::string message = agent.error().message();
    if (message.find("core BPF object") != std::string::npos) message += "; " + core_remedy(true, message);
    return context.fail(message, kFailed);
  }
  running = agent->get();
  handle_signals();
  (*agent)->run();
  running = nullptr;
  spdlog::info("stopped after a last flush");
}

}  // namespace

void add_agent_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("agent", "Measures and exports until it is stopped");
  auto flags = std::make_shared<AgentFlags>();
  command->add_option("--config", flags->file, "YAML file with settings; see docs/ops/configuration.md")->check(not_empty);
  command->add_flag("--check-config", flags->check, "Check everything, print what is in force and where from, and end");
  add_settings(*command, flags->settings);
  command->callback([flags, &context] { run_agent(*flags, context); });
}

}  // namespace sonde::cli
