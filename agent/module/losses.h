// SPDX-License-Identifier: Apache-2.0
// The words for loss reasons: those of all modules (enum sonde_loss) and those that each has of its own (ModuleInfo::losses).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sonde {

// Word for a reason by which a module counts ("core" for the core object): "task_storage", …; "other" for one without a name.
std::string_view loss_name(std::string_view module, std::size_t reason);
// All of them, for display: "task_storage, no_row, …".
std::string loss_names();

}  // namespace sonde
