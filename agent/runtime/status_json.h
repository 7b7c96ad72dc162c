// SPDX-License-Identifier: Apache-2.0
// A status as JSON: /statusz (docs/ops/status.schema.json), /policies. The command line prints from these.
#pragma once

#include <string>

#include "agent/runtime/status.h"

namespace sonde {

std::string status_json(const Status& status);
// Its "policies" alone.
std::string policies_json(const Status& status);

}  // namespace sonde
