// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/traced_functions.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <bit>
#include <cerrno>

namespace sonde {
namespace {

// linux/bpf.h of 6.7; Debian 12 has that of 6.1.
constexpr uint32_t kPerfEventKprobe = 3, kPerfEventKretprobe = 4;
struct KprobeLinkInfo {
  uint32_t type, id, prog_id, reserved;
  uint32_t event_type, reserved2;
  uint64_t name;
  uint32_t name_length, offset;
  uint64_t address, missed, cookie;
  uint64_t later[8];
};

KernelSignature::Argument argument_of(const btf* types, uint32_t id) {
  const int resolved = btf__resolve_type(types, id);
  const btf_type* type = resolved < 0 ? nullptr : btf__type_by_id(types, static_cast<__u32>(resolved));
  KernelSignature::Argument argument;
  argument.is_number = type && (btf_is_int(type) || btf_is_any_enum(type)) && type->size <= 8;
  if (!argument.is_number) return argument;
  argument.bytes = static_cast<uint8_t>(type->size);
  argument.is_signed = btf_is_int(type) ? (btf_int_encoding(type) & BTF_INT_SIGNED) != 0 : btf_kflag(type);
  return argument;
}

}  // namespace

std::optional<KernelSignature> kernel_signature(const btf* types, const std::string& symbol) {
  if (!types) return std::nullopt;
  const int id = btf__find_by_name_kind(types, symbol.c_str(), BTF_KIND_FUNC);
  if (id <= 0) return std::nullopt;
  const btf_type* function = btf__type_by_id(types, static_cast<__u32>(id));
  const btf_type* prototype = btf__type_by_id(types, function->type);
  if (!prototype || !btf_is_func_proto(prototype)) return std::nullopt;
  KernelSignature signature;
  signature.type = static_cast<uint32_t>(id);
  signature.returns = prototype->type != 0;
  const btf_param* parameters = btf_params(prototype);
  for (int i = 0; i < btf_vlen(prototype); ++i) signature.arguments.push_back(argument_of(types, parameters[i].type));
  return signature;
}

Result<TracedFunction> trace_function(const bpf_program* model, uint32_t type, uint64_t cookie) {
  LIBBPF_OPTS(bpf_prog_load_opts, load);
  load.expected_attach_type = bpf_program__expected_attach_type(model);
  load.attach_btf_id = type;
  TracedFunction traced;
  // Of a loaded program libbpf shows the instructions as the kernel got them: with the maps and types of this kernel.
  traced.program = Fd(bpf_prog_load(BPF_PROG_TYPE_TRACING, "function_traced", "GPL", bpf_program__insns(model),
                                    bpf_program__insn_cnt(model), &load));
  if (!traced.program) return Error::system("the kernel refuses the program", errno);
  LIBBPF_OPTS(bpf_link_create_opts, create);
  create.tracing.cookie = cookie;
  traced.link = Fd(bpf_link_create(traced.program.get(), 0, load.expected_attach_type, &create));
  if (!traced.link) return Error::system("the kernel refuses to attach", errno);
  return traced;
}

uint64_t missed_by_program(int program) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  return bpf_obj_get_info_by_fd(program, &info, &size) ? 0 : info.recursion_misses;
}

uint64_t missed_by_kprobe(int link) {
  KprobeLinkInfo info{};
  char name[128];  // without a place for it the kernel tells nothing
  info.name = std::bit_cast<uint64_t>(&name[0]);
  info.name_length = sizeof(name);
  // As perf events' links are told from others by the kernel, these two are filled where it knows them.
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(link, &info, &size)) return 0;
  return info.event_type == kPerfEventKprobe || info.event_type == kPerfEventKretprobe ? info.missed : 0;
}

}  // namespace sonde
