// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/loads.h"

#include <algorithm>

namespace sonde::bench {
namespace {

std::vector<const Load*>& loads() {
  static std::vector<const Load*> all;
  return all;
}
std::vector<HookTable (*)()>& makers() {
  static std::vector<HookTable (*)()> all;
  return all;
}

}  // namespace

Load::Load(std::string_view of_module, Workload work, uint64_t pieces, std::string_view name)
    : module(of_module), workload(work), n(pieces), title(name) {
  loads().push_back(this);
}

const Load& load_of(std::string_view module) {
  static const Load other("", switch_contexts, 10'000, "context switch");
  const auto found = std::ranges::find(loads(), module, [](const Load* load) { return load->module; });
  return found == loads().end() ? other : **found;
}

RegisteredHookTable::RegisteredHookTable(HookTable (*make)()) { makers().push_back(make); }

std::vector<HookTable> hook_tables() {
  std::vector<HookTable> tables;
  for (const auto make : makers()) tables.push_back(make());
  std::ranges::sort(tables, {}, &HookTable::probe);
  return tables;
}

}  // namespace sonde::bench
