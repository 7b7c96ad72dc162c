// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/module_types.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>

#include "agent/kernel/libbpf_log.h"

namespace sonde {

void pass_over_module_types(bpf_object* object) {
  uint32_t id = 0;
  if (bpf_btf_get_next_id(0, &id) == 0 || errno != EPERM) return;
  bpf_program* any = bpf_object__next_program(object, nullptr);
  if (!any) return;
  LogCapture log;
  // libbpf tries once per object. This fails, as it is meant to, and leaves the program as it was.
  bpf_program__set_attach_target(any, 0, "sonde_is_nowhere");
}

}  // namespace sonde
