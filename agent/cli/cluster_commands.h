// SPDX-License-Identifier: Apache-2.0
// Sub-commands about a cluster; see cli.h.
#pragma once

#include "agent/cli/cli.h"

namespace sonde::cli {

void add_operator_command(CLI::App& app, Context& context);
void add_explain_command(CLI::App& app, Context& context);

}  // namespace sonde::cli
