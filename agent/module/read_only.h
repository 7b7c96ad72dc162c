// SPDX-License-Identifier: Apache-2.0
// Values that user space sets before a BPF object is loaded: `const volatile` variables, which the verifier then knows. For
// Module::prepare.
#pragma once

#include <cstddef>
#include <string_view>

#include "agent/base/result.h"

struct bpf_object;

namespace sonde {

// False: the object's code has no use for such a variable, or it has another size.
bool set_read_only(bpf_object* object, std::string_view name, const void* value, std::size_t size);

template <typename T>
bool set_read_only(bpf_object* object, std::string_view name, const T& value) {
  return set_read_only(object, name, &value, sizeof(value));
}

// How many slots the agent has; 0 if the object does not use them.
std::size_t slots_of(bpf_object* object);

}  // namespace sonde
