// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/service.h"

#include "agent/runtime/status_json.h"

namespace sonde {

std::string Service::status_json() const { return sonde::status_json(*status()); }

std::string Service::policies_json() const { return sonde::policies_json(*status()); }

}  // namespace sonde
