// SPDX-License-Identifier: Apache-2.0
// USDT probes: notes of type 3 and name "stapsdt" that a program carries in .note.stapsdt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/symbols/elf_file.h"

namespace sonde {

struct UsdtProbe {
  std::string name;        // provider:probe
  uint64_t address = 0;    // virtual
  uint64_t semaphore = 0;  // virtual; 0: none
  std::string arguments;
};
// At most 100000 probes; broken notes end the list.
std::vector<UsdtProbe> usdt_probes(const ElfFile& file);

// Place of the n-th (1-based) of the arguments as the note writes them: "8@%rdi -4@-20(%rbp)", "4@x1 8@[sp, 24]". None
// if there are fewer or it is in a form that is not understood.
std::optional<ArgumentPlace> usdt_argument(Machine machine, std::string_view arguments, int number);

}  // namespace sonde
