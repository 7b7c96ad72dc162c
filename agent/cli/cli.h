// SPDX-License-Identifier: Apache-2.0
// The command line. One file per subcommand: <name>_command.cpp adds it to the application and, if it was selected,
// sets the exit code. To add one: write the file, and declare its add_ function here and in cli.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "agent/base/result.h"
#include "agent/config/config.h"

namespace sonde::cli {

inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;  // it ran with a negative result: a check failed, no agent answered
inline constexpr int kUsage = 2;   // invalid input: a flag, a file, a key

// Shared by the subcommands.
struct Context {
  int code = kOk;
  // Prints a message to standard error and sets the exit code.
  void fail(const std::string& sentence, int exit_code = kUsage);
};

void add_agent_command(CLI::App& app, Context& context);
void add_doctor_command(CLI::App& app, Context& context);
void add_pods_command(CLI::App& app, Context& context);
void add_policy_command(CLI::App& app, Context& context);
void add_probes_command(CLI::App& app, Context& context);
void add_status_command(CLI::App& app, Context& context);
void add_top_command(CLI::App& app, Context& context);
void add_verify_command(CLI::App& app, Context& context);

// Adds every setting of the agent as a flag of this subcommand; given values go to `flags`.
void add_settings(CLI::App& command, std::map<std::string, std::string>& flags);
// The configuration from flags, environment and file; the error may have several lines.
Result<LoadedConfig> read_config(const std::map<std::string, std::string>& flags, const std::string& file,
                                 ConfigInputs* inputs = nullptr);
void log_to_stderr();
void set_up_log(const LogConfig& log);

// For flags that name a file: an unset variable in a script is an error rather than "none".
std::string not_empty(const std::string& value);
// `-o, --output table|json`.
void add_output_flag(CLI::App& command, std::string& format);

int run(int argc, char** argv);

}  // namespace sonde::cli
