// SPDX-License-Identifier: Apache-2.0
// Values that user space sets before a BPF object is loaded: `const volatile` variables, which the verifier then knows. For
// Module::prepare.
#pragma once

#include <cstddef>
#include <string_view>

#include "agent/base/result.h"

struct bpf_object;

namespace sonde {

// Does the object have such a variable? It lacks those that its code does not name.
bool has_read_only(const bpf_object* object, std::string_view name);

// Fails if the object has no such variable, or one of another size.
Result<void> set_read_only(bpf_object* object, std::string_view name, const void* value, std::size_t size);

template <typename T>
Result<void> set_read_only(bpf_object* object, std::string_view name, const T& value) {
  return set_read_only(object, name, &value, sizeof(value));
}

// How many slots the agent has; 0 if the object does not use them.
std::size_t slots_of(bpf_object* object);

}  // namespace sonde
