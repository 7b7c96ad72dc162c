// SPDX-License-Identifier: Apache-2.0
// Go programs: recognised, and their functions' machine code looked through. A return probe that changes the return
// address would crash them when a stack is moved, so each return instruction gets a probe of its own. A function that
// finds its stack too small has it moved and restarts at its first instruction, so its entry is probed after that
// check: there each call comes by once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "agent/symbols/elf_file.h"

namespace sonde {

bool is_go(const ElfFile& file);
// Built by 1.18 or newer, as far as the file says: arguments in registers, the version told in its build information.
bool has_register_abi(const ElfFile& file);

struct GoCode {
  bool decoded = false;
  uint64_t entry = 0;  // where to probe, relative to the function's begin
  std::vector<uint64_t> returns;
};
// `code`: the function's bytes. At most 1024 returns.
GoCode read_go_code(Machine machine, std::span<const unsigned char> code);

}  // namespace sonde
