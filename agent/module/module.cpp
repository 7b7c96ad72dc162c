// SPDX-License-Identifier: Apache-2.0
#include "agent/module/module.h"

#include <algorithm>

namespace sonde {

namespace {

bool is_called(const ModuleInfo& info, std::string_view name) {
  return info.name == name || std::ranges::find(info.aliases, name) != info.aliases.end();
}

}  // namespace

CellSeries Module::decode_cell(uint32_t) const { return {}; }
CellSeries Module::decode_keyed(uint32_t) const { return {}; }
SpanWords Module::decode_span(const sonde_span& /*span*/) const { return {}; }
CellSeries Module::decode_read(uint32_t) const { return {}; }

Result<void> Module::prepare(bpf_object*, const Features&, int) const { return {}; }

Result<void> Module::begin(bpf_object*) const { return {}; }

Result<void> Module::flush(bpf_object*) const { return {}; }

Result<void> Module::selected(bpf_object*) const { return {}; }

std::vector<std::string> Module::gaps(bpf_object*) const { return {}; }

Result<void> Module::refresh(bpf_object*) const { return {}; }

Result<void> Module::settle(bpf_object*, std::span<const StateSubject>, const HostTree&) const { return {}; }

Result<void> Module::read(const ReadTarget&, std::span<uint64_t>) const { return {}; }

Result<void> Module::read_keyed(const ReadTarget&, std::vector<KeyedState>&) const { return {}; }

int find_module(std::string_view name) {
  auto all = modules();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (is_called(all[i].module->info(), name)) return static_cast<int>(i);
  }
  return -1;
}

bool stands_for(std::span<const ModuleEntry> among, std::string_view name, const ModuleInfo& info) {
  if (is_called(info, name)) return true;
  return !info.part_of.empty() && std::ranges::any_of(among, [&](const ModuleEntry& entry) {
    const ModuleInfo& whole = entry.module->info();
    return whole.name == info.part_of && is_called(whole, name);
  });
}

int function_module(std::span<const ModuleEntry> among) {
  const auto found = std::ranges::find_if(among, [](const auto& one) { return !one.module->info().measures.empty(); });
  return found == among.end() ? -1 : static_cast<int>(found - among.begin());
}

}  // namespace sonde
