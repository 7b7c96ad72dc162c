// SPDX-License-Identifier: Apache-2.0
#include "agent/module/read_only.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cstring>
#include <string>

namespace sonde {
namespace {

// In the section of this type, which is a map of the object.
bool set_in(bpf_object* object, const btf* types, const btf_type* section, std::string_view name, const void* value,
            std::size_t size) {
  const btf_var_secinfo* variables = btf_var_secinfos(section);
  for (int i = 0; i < btf_vlen(section); ++i) {
    const btf_type* variable = btf__type_by_id(types, variables[i].type);
    if (name != btf__name_by_offset(types, variable->name_off)) continue;
    bpf_map* map = bpf_object__find_map_by_name(object, btf__name_by_offset(types, section->name_off));
    std::size_t room = 0;
    auto* data = map ? static_cast<char*>(const_cast<void*>(bpf_map__initial_value(map, &room))) : nullptr;
    if (!data || variables[i].size != size || variables[i].offset + size > room) return false;
    std::memcpy(data + variables[i].offset, value, size);
    return true;
  }
  return false;
}

}  // namespace

bool set_read_only(bpf_object* object, std::string_view name, const void* value, std::size_t size) {
  const btf* types = bpf_object__btf(object);
  const __u32 count = types ? btf__type_cnt(types) : 0;
  for (__u32 id = 1; id < count; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (!btf_is_datasec(type)) continue;
    if (!std::string_view(btf__name_by_offset(types, type->name_off)).starts_with(".rodata")) continue;
    if (set_in(object, types, type, name, value, size)) return true;
  }
  return false;
}

std::size_t slots_of(bpf_object* object) {
  const bpf_map* slots = bpf_object__find_map_by_name(object, "sonde_slot_config");
  return slots ? bpf_map__max_entries(slots) : 0;
}

}  // namespace sonde
