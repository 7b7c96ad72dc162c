// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/cli.h"

#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/cli/cluster_commands.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

// All long flags of a command, for "did you mean".
std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

// "policy check", without the program's own name.
std::string full_name(const CLI::App& app) {
  if (!app.get_parent()) return "";
  const std::string above = full_name(*app.get_parent());
  return above.empty() ? app.get_name() : above + " " + app.get_name();
}

std::string with_hint(std::string sentence, const std::string& word, const std::vector<std::string>& candidates) {
  const auto near = nearest(word, std::span<const std::string>(candidates));
  if (!near.empty()) sentence += "; did you mean " + std::string(near) + "?";
  return sentence;
}

// One sentence for whatever CLI11 complains about.
std::string sentence_of(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = innermost(app);
  const auto extras = command.remaining(true);
  if (!extras.empty()) {
    const std::string word = extras.front().substr(0, extras.front().find('='));
    if (word.starts_with("-")) {
      const std::string name = &command == &app ? "sonde" : full_name(command);
      return with_hint("`" + name + "` has no flag " + word, word, flags_of(command));
    }
    if (&command == &app) return with_hint("there is no command \"" + word + "\"", word, commands_of(app));
    if (!command.get_subcommands({}).empty()) {
      return with_hint("`" + full_name(command) + "` has no command \"" + word + "\"", word, commands_of(command));
    }
    return "`" + full_name(command) + "` does not take \"" + word + "\"";
  }
  if (error.get_name() == "RequiredError" && !command.get_subcommands({}).empty()) {
    return "`" + full_name(command) + "` needs one of: " + join(commands_of(command), ", ");
  }
  const std::string what = error.what();
  if (error.get_name() == "RequiredError")
    return "`" + full_name(command) + "` needs " + what.substr(0, what.find(' '));
  if (error.get_name() == "ArgumentMismatch") return what.substr(0, what.find(": ")) + " needs a value";
  return what;
}

constexpr std::pair<std::string_view, std::string_view> kExamples[] = {
    {"agent",
     "  sonde agent --export file --file metrics.jsonl --interval 5s     write to a file\n"
     "  sonde agent --otlp-endpoint http://collector:4317                push to a Collector\n"
     "  sonde agent --export prometheus                                  http://localhost:18080/metrics\n"
     "  sonde agent --policies /etc/sonde/policies                       what to measure where\n"
     "  sonde agent --target-pid 1234 --duration 1m                      one process tree, one minute\n"
     "  kill -HUP $(pidof sonde)                                         reload the configuration"},
    {"top",
     "  sonde top                                          all containers and cgroups, live\n"
     "  sonde top --probe network --sort tcp.io.transmit   one probe\n"
     "  sonde top --once -o json                           one measurement, for scripts"},
    {"status",
     "  sonde status                          the agent on this machine\n"
     "  sonde status -o json | jq .modules    why a probe does not work, and what each costs"},
    {"pods",
     "  sonde pods           known pods with containers, cgroups and processes\n  sonde pods -o json   for scripts"},
    {"probes",
     "  sonde probes           all probes of this build\n"
     "  sonde probes -o json   with every metric and its requirements"},
    {"doctor",
     "  sudo sonde doctor                                which probes work on this machine, and how to fix the "
     "others\n"
     "  sudo sonde doctor -o json                        exit code 0: all work, 1: with gaps, 2: none works\n"
     "  sonde doctor --plan --containers 200 --cpus 64   kernel memory of all probes, without loading anything"},
    {"verify",
     "  sonde verify   six steps from the running agent to served metrics; the first failure says what to do"},
    {"explain",
     "  sonde explain pod shop/web-0                    matching policies, source of each value, what is refused\n"
     "  sonde explain pod shop/web-0 --container app    only one container\n"
     "  sonde explain pod shop/web-0 -o json            for scripts"},
    {"operator",
     "  sonde operator    in a pod with the operator's service account; one replica leads (docs/ops/operator.md)"},
    {"check",
     "  sonde policy check databases.yaml             validate; exit code 0 or 2\n"
     "  sonde policy check --estimate policies/       also estimate the cost"},
};

void add_examples(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    for (const auto& [name, text] : kExamples) {
      if (command->get_name() == name) command->footer("Examples:\n" + std::string(text));
    }
    add_examples(*command);
  }
}

}  // namespace

void Context::fail(const std::string& sentence, int exit_code) {
  std::fprintf(stderr, "%s %s\n", paint(Colour::Red, "sonde:", stderr).c_str(), sentence.c_str());
  code = exit_code;
}

std::string not_empty(const std::string& value) {
  return value.empty() ? "the value is empty; omit the flag instead" : "";
}

void add_output_flag(CLI::App& command, std::string& format) {
  command.add_option("-o,--output", format, "Output format: table or json")
      ->check([](const std::string& word) {
        return word == "table" || word == "json" ? "" : "must be table or json, not '" + word + "'";
      })
      ->default_str("table");
}

int run(int argc, char** argv) {
  Context context;
  CLI::App app{
      "Sonde measures what the Linux kernel does for each container and what that costs.\n"
      "Start with `sonde doctor` (check this machine), `sonde top` (live table) or `sonde agent` (the service).",
      "sonde"};
  app.set_version_flag("--version", std::string("sonde ") + SONDE_VERSION);
  app.require_subcommand(0, 1);
  add_agent_command(app, context);
  add_top_command(app, context);
  add_status_command(app, context);
  add_pods_command(app, context);
  add_probes_command(app, context);
  add_doctor_command(app, context);
  add_policy_command(app, context);
  add_verify_command(app, context);
  add_explain_command(app, context);
  add_operator_command(app, context);
  add_examples(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    context.fail(sentence_of(app, error) + " (see `sonde " +
                 (&innermost(app) == &app ? "" : full_name(innermost(app)) + " ") + "--help`)");
    return context.code;
  }
  if (app.get_subcommands().empty()) std::fputs(app.help().c_str(), stdout);
  return context.code;
}

}  // namespace sonde::cli
