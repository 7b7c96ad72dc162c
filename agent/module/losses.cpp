// SPDX-License-Identifier: Apache-2.0
#include "agent/module/losses.h"

#include <sonde/abi.h>

#include <algorithm>
#include <array>
#include <vector>

#include "agent/base/text.h"
#include "agent/module/module.h"

namespace sonde {
namespace {

// By enum sonde_loss.
constexpr std::array<std::string_view, SONDE_LOSS_OWN> kNames = {
    "task_storage", "no_row",    "unseen_entry", "in_flight", "no_slot",
    "processes",    "bad_value", "unmeasured",   "moved",     "span_buffer_full"};

}  // namespace

std::string_view loss_name(std::string_view module, std::size_t reason) {
  if (reason < kNames.size()) return kNames[reason];
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    if (info.name != module) continue;
    const auto own = std::ranges::find(info.losses, reason, &LossSpec::reason);
    if (own != info.losses.end()) return own->name;
  }
  return "other";
}

std::string loss_names() {
  std::vector<std::string_view> all(kNames.begin(), kNames.end());
  for (const ModuleEntry& entry : modules()) {
    for (const LossSpec& own : entry.module->info().losses) {
      if (std::ranges::find(all, own.name) == all.end()) all.push_back(own.name);
    }
  }
  all.push_back("other");
  return join(all);
}

}  // namespace sonde
