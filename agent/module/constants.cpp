// SPDX-License-Identifier: Apache-2.0
#include "agent/module/constants.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cstring>
#include <string>

namespace sonde {

Result<void> set_constant(bpf_object* object, std::string_view name, uint64_t value) {
  bpf_map* rodata = bpf_object__find_map_by_name(object, ".rodata");
  const btf* types = bpf_object__btf(object);
  const int section = types ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -1;
  std::size_t size = 0;
  auto* data = rodata ? static_cast<char*>(const_cast<void*>(bpf_map__initial_value(rodata, &size))) : nullptr;
  const btf_type* variables = section > 0 ? btf__type_by_id(types, static_cast<__u32>(section)) : nullptr;
  for (int i = 0; data && variables && i < btf_vlen(variables); ++i) {
    const btf_var_secinfo& place = btf_var_secinfos(variables)[i];
    const btf_type* variable = btf__type_by_id(types, place.type);
    if (name != btf__name_by_offset(types, variable->name_off)) continue;
    if (place.size > sizeof(value) || place.offset + place.size > size) break;
    std::memcpy(data + place.offset, &value, place.size);  // little-endian, as all machines that Sonde runs on
    return {};
  }
  return Error("the BPF object has no constant " + std::string(name));
}

}  // namespace sonde
