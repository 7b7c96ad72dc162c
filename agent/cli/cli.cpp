// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/cli.h"

#include <cstdio>
#include <vector>

#include "agent/base/text.h"
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
      return with_hint("`" + command.get_name() + "` has no flag " + word, word, flags_of(command));
    }
    if (&command == &app) return with_hint("there is no command \"" + word + "\"", word, commands_of(app));
    return "`" + command.get_name() + "` does not take \"" + word + "\"";
  }
  return error.what();
}

}  // namespace

void Context::fail(const std::string& sentence, int exit_code) {
  std::fprintf(stderr, "%s %s\n", paint(Colour::Red, "sonde:", stderr).c_str(), sentence.c_str());
  code = exit_code;
}

void add_output_flag(CLI::App& command, std::string& format) {
  command.add_option("-o,--output", format, "Form of the answer: table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->default_str("table");
}

int run(int argc, char** argv) {
  Context context;
  CLI::App app{
      "Sonde tells, per container, what the kernel does for it and what that costs.\n"
      "Start with `sonde doctor` (can this machine do it?), `sonde top` (a live table), `sonde agent` (the service).",
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    context.fail(sentence_of(app, error) + " (see `sonde " +
                 (&innermost(app) == &app ? "" : innermost(app).get_name() + " ") + "--help`)");
    return context.code;
  }
  if (app.get_subcommands().empty()) std::fputs(app.help().c_str(), stdout);
  return context.code;
}

}  // namespace sonde::cli
