// SPDX-License-Identifier: Apache-2.0
// docs/ops/metrics.md, made from the modules' tables: what is documented is what is exported.
#pragma once

#include <string>

namespace sonde {

std::string metrics_markdown();

}  // namespace sonde
