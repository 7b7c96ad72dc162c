// SPDX-License-Identifier: Apache-2.0
#include "agent/module/read_only.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cstring>
#include <string>

namespace sonde {
namespace {

struct Place {
  const char* section = nullptr;  // a map of the object; null: it has no such variable
  uint32_t offset = 0;
  uint32_t size = 0;
};

// In the sections whose names begin with .rodata.
Place find(const bpf_object* object, std::string_view name) {
  const btf* types = bpf_object__btf(object);
  const __u32 count = types ? btf__type_cnt(types) : 0;
  for (__u32 id = 1; id < count; ++id) {
    const btf_type* section = btf__type_by_id(types, id);
    if (!btf_is_datasec(section)) continue;
    const char* section_name = btf__name_by_offset(types, section->name_off);
    if (!std::string_view(section_name).starts_with(".rodata")) continue;
    const btf_var_secinfo* variables = btf_var_secinfos(section);
    for (int i = 0; i < btf_vlen(section); ++i) {
      const btf_type* variable = btf__type_by_id(types, variables[i].type);
      if (name == btf__name_by_offset(types, variable->name_off))
        return {section_name, variables[i].offset, variables[i].size};
    }
  }
  return {};
}

}  // namespace

bool has_read_only(const bpf_object* object, std::string_view name) { return find(object, name).section != nullptr; }

Result<void> set_read_only(bpf_object* object, std::string_view name, const void* value, std::size_t size) {
  const Place place = find(object, name);
  if (!place.section) return Error("the BPF object has no variable " + std::string(name));
  if (place.size != size)
    return Error("the variable " + std::string(name) + " of the BPF object has " + std::to_string(place.size) +
                 " bytes instead of " + std::to_string(size));
  bpf_map* map = bpf_object__find_map_by_name(object, place.section);
  std::size_t room = 0;
  auto* data = map ? static_cast<char*>(const_cast<void*>(bpf_map__initial_value(map, &room))) : nullptr;
  if (!data || place.offset + size > room) return Error("the BPF object has no data for " + std::string(name));
  std::memcpy(data + place.offset, value, size);
  return {};
}

std::size_t slots_of(bpf_object* object) {
  const bpf_map* slots = bpf_object__find_map_by_name(object, "sonde_slot_config");
  return slots ? bpf_map__max_entries(slots) : 0;
}

}  // namespace sonde
