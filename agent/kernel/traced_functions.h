// SPDX-License-Identifier: Apache-2.0
// Functions of the kernel by fentry and fexit: a program of a loaded object serves as model, and each function gets a copy
// of it, because the kernel takes the function's type when it loads the program. And what the kernel's types say of a function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/result.h"

struct bpf_program;
struct btf;

namespace sonde {

// How a function of the kernel (not of a kernel module) is declared.
struct KernelSignature {
  struct Argument {
    bool is_number = true;  // false: a pointer or a structure
    bool is_signed = false;
    uint8_t bytes = 8;
  };
  uint32_t type = 0;  // number of the function in the kernel's BTF
  bool returns = true;
  std::vector<Argument> arguments;
};
// Nothing: the kernel's BTF does not know it, or knows several that differ.
std::optional<KernelSignature> kernel_signature(const btf* types, const std::string& symbol);

struct TracedFunction {
  Fd link;     // detaches when it goes
  Fd program;  // missed_by_program() reads it
};
// `model`: a loaded fentry or fexit program. Error: why the kernel refuses.
Result<TracedFunction> trace_function(const bpf_program* model, uint32_t type, uint64_t cookie);

// Runs that the kernel left out because the program was running on that CPU already.
uint64_t missed_by_program(int program);
// Likewise of a kprobe's link, and for a kretprobe also the calls for which there was no room (6.7; 0 before).
uint64_t missed_by_kprobe(int link);

}  // namespace sonde
