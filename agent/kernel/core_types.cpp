// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/core_types.h"

#include <bpf/btf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cstring>

#include "agent/base/text.h"

namespace sonde {
namespace {

// task_struct___old is task_struct.
std::string_view essential(std::string_view name) { return name.substr(0, name.find("___")); }

std::string_view name_of(const btf* types, uint32_t offset) {
  const char* name = btf__name_by_offset(types, offset);
  return name ? name : "";
}

const btf_type* bare(const btf* types, uint32_t& id) {
  const btf_type* type = btf__type_by_id(types, id);
  while (type && (btf_is_mod(type) || btf_is_typedef(type))) {
    id = type->type;
    type = btf__type_by_id(types, id);
  }
  return type;
}

bool is_enum_kind(const btf_type* type) { return btf_kind(type) == BTF_KIND_ENUM || btf_kind(type) == BTF_KIND_ENUM64; }

bool same_kind(const btf_type* a, const btf_type* b) {
  return btf_kind(a) == btf_kind(b) || (is_enum_kind(a) && is_enum_kind(b));
}

std::vector<uint32_t> numbers_of(const std::string& access) {
  std::vector<uint32_t> numbers;
  for (const std::string_view word : split(access, ':')) {
    const auto number = parse_integer(word, 0, UINT32_MAX);
    if (!number) return {};
    numbers.push_back(static_cast<uint32_t>(*number));
  }
  return numbers;
}

// One step of an access: a member by name, or an element of an array.
struct Step {
  std::string name;   // empty: an element
  uint32_t type = 0;  // of what is reached, in the object
  uint32_t index = 0;
};

std::vector<Step> steps_of(const btf* object, const CoreRelocation& relocation) {
  std::vector<Step> steps;
  const auto numbers = numbers_of(relocation.access);
  uint32_t id = relocation.type;
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    const btf_type* type = bare(object, id);
    if (!type) break;
    if (btf_is_composite(type) && numbers[i] < btf_vlen(type)) {
      const btf_member& member = btf_members(type)[numbers[i]];
      id = member.type;
      if (member.name_off) steps.push_back({std::string(name_of(object, member.name_off)), id, 0});
    } else if (btf_is_array(type)) {
      id = btf_array(type)->type;
      steps.push_back({"", id, numbers[i]});
    } else {
      break;
    }
  }
  return steps;
}

bool compatible(const btf* object, uint32_t ours, const btf* kernel, uint32_t theirs) {
  const btf_type* a = bare(object, ours);
  const btf_type* b = bare(kernel, theirs);
  if (!a || !b) return false;
  if (btf_is_composite(a) && btf_is_composite(b)) return true;
  if (!same_kind(a, b)) return false;
  switch (btf_kind(a)) {
    case BTF_KIND_PTR:
    case BTF_KIND_INT:
    case BTF_KIND_FLOAT: return true;
    case BTF_KIND_ARRAY: return compatible(object, btf_array(a)->type, kernel, btf_array(b)->type);
    case BTF_KIND_FWD:
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64: {
      const auto one = essential(name_of(object, a->name_off)), other = essential(name_of(kernel, b->name_off));
      return one.empty() || other.empty() || one == other;
    }
    default: return false;
  }
}

// The member's type; 0: there is none. Members of nameless structs are members of the one around them.
uint32_t find_member(const btf* object, const Step& step, const btf* kernel, uint32_t id, int depth = 0) {
  const btf_type* type = bare(kernel, id);
  if (!type || !btf_is_composite(type) || depth > 32) return 0;
  for (uint16_t i = 0; i < btf_vlen(type); ++i) {
    const btf_member& member = btf_members(type)[i];
    if (!member.name_off) {
      if (const uint32_t found = find_member(object, step, kernel, member.type, depth + 1)) return found;
    } else if (name_of(kernel, member.name_off) == step.name) {
      return compatible(object, step.type, kernel, member.type) ? member.type : 0;
    }
  }
  return 0;
}

bool has_field(const btf* object, const std::vector<Step>& steps, const btf* kernel, uint32_t id) {
  for (const Step& step : steps) {
    if (!step.name.empty()) {
      id = find_member(object, step, kernel, id);
      if (!id) return false;
      continue;
    }
    const btf_type* type = bare(kernel, id);
    if (!type || !btf_is_array(type)) return false;
    const auto* array = btf_array(type);
    if (array->nelems && step.index >= array->nelems) return false;
    id = array->type;
  }
  return true;
}

std::string value_name(const btf* types, const btf_type* type, uint32_t index) {
  if (index >= btf_vlen(type)) return {};
  const uint32_t offset =
      btf_kind(type) == BTF_KIND_ENUM ? btf_enum(type)[index].name_off : btf_enum64(type)[index].name_off;
  return std::string(name_of(types, offset));
}

std::string wanted_value(const btf* object, const CoreRelocation& relocation) {
  uint32_t id = relocation.type;
  const btf_type* type = bare(object, id);
  const auto numbers = numbers_of(relocation.access);
  if (!type || !is_enum_kind(type) || numbers.empty()) return {};
  return value_name(object, type, numbers[0]);
}

bool has_value(const btf* kernel, uint32_t id, std::string_view wanted) {
  const btf_type* type = bare(kernel, id);
  if (!type || !is_enum_kind(type) || wanted.empty()) return false;
  for (uint32_t i = 0; i < btf_vlen(type); ++i) {
    if (essential(value_name(kernel, type, i)) == essential(wanted)) return true;
  }
  return false;
}

template <typename T>
bool take(std::string_view& bytes, T& out) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(&out, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

}  // namespace

std::map<std::string, std::vector<CoreRelocation>> core_relocations(const btf* types, std::string_view ext) {
  struct Header {
    uint16_t magic;
    uint8_t version, flags;
    uint32_t length, function_offset, function_length, line_offset, line_length, relocation_offset, relocation_length;
  } header{};
  std::map<std::string, std::vector<CoreRelocation>> found;
  std::string_view rest = ext;
  if (!take(rest, header) || header.length < sizeof(header)) return found;
  const uint64_t begin = uint64_t{header.length} + header.relocation_offset;
  if (begin + header.relocation_length > ext.size()) return found;
  rest = ext.substr(begin, header.relocation_length);
  uint32_t size = 0;
  if (!take(rest, size) || size < sizeof(bpf_core_relo)) return found;
  for (uint32_t section = 0, count = 0; take(rest, section) && take(rest, count);) {
    auto& list = found[std::string(name_of(types, section))];
    for (; count > 0 && rest.size() >= size; --count) {
      bpf_core_relo one;
      std::memcpy(&one, rest.data(), sizeof(one));
      rest.remove_prefix(size);
      list.push_back({static_cast<uint32_t>(one.insn_off / sizeof(bpf_insn)), one.type_id,
                      static_cast<uint32_t>(one.kind), std::string(name_of(types, one.access_str_off))});
    }
  }
  return found;
}

bool is_question(const CoreRelocation& relocation) {
  return relocation.kind == BPF_CORE_FIELD_EXISTS || relocation.kind == BPF_CORE_TYPE_EXISTS ||
         relocation.kind == BPF_CORE_ENUMVAL_EXISTS || relocation.kind == BPF_CORE_TYPE_MATCHES;
}

CoreTypes::CoreTypes(const btf* kernel) : kernel_(kernel) {
  for (uint32_t id = 1; id < btf__type_cnt(kernel); ++id) {
    const btf_type* type = btf__type_by_id(kernel, id);
    const std::string_view name = name_of(kernel, type->name_off);
    if (!name.empty()) by_name_.emplace(essential(name), id);
  }
}

std::vector<uint32_t> CoreTypes::candidates(const btf* object, uint32_t type) const {
  std::vector<uint32_t> ids;
  const btf_type* ours = btf__type_by_id(object, type);
  if (!ours) return ids;
  const auto [begin, end] = by_name_.equal_range(essential(name_of(object, ours->name_off)));
  for (auto one = begin; one != end; ++one) {
    if (same_kind(ours, btf__type_by_id(kernel_, one->second))) ids.push_back(one->second);
  }
  return ids;
}

bool CoreTypes::has(const btf* object, const CoreRelocation& relocation) const {
  if (relocation.kind == BPF_CORE_TYPE_ID_LOCAL) return true;
  const auto ids = candidates(object, relocation.type);
  switch (relocation.kind) {
    case BPF_CORE_TYPE_ID_TARGET:
    case BPF_CORE_TYPE_EXISTS:
    case BPF_CORE_TYPE_MATCHES:
    case BPF_CORE_TYPE_SIZE: return !ids.empty();
    case BPF_CORE_ENUMVAL_EXISTS:
    case BPF_CORE_ENUMVAL_VALUE: {
      const std::string wanted = wanted_value(object, relocation);
      return std::ranges::any_of(ids, [&](uint32_t id) { return has_value(kernel_, id, wanted); });
    }
    default: break;
  }
  const auto steps = steps_of(object, relocation);
  return std::ranges::any_of(ids, [&](uint32_t id) { return has_field(object, steps, kernel_, id); });
}

bool CoreTypes::has_function(const std::string& name) const {
  return btf__find_by_name_kind(kernel_, name.c_str(), BTF_KIND_FUNC) > 0;
}

bool CoreTypes::has_tracepoint(const std::string& name) const {
  return btf__find_by_name_kind(kernel_, ("btf_trace_" + name).c_str(), BTF_KIND_TYPEDEF) > 0;
}

std::string text_of(const btf* object, const CoreRelocation& relocation) {
  const btf_type* type = btf__type_by_id(object, relocation.type);
  std::string text(type ? essential(name_of(object, type->name_off)) : std::string_view());
  if (relocation.kind == BPF_CORE_ENUMVAL_VALUE) return text + " " + wanted_value(object, relocation);
  for (const Step& step : steps_of(object, relocation)) text += step.name.empty() ? "[]" : "." + step.name;
  return text;
}

}  // namespace sonde
