// SPDX-License-Identifier: Apache-2.0
// The table of functions that Go's own runtime needs (.gopclntab). It stays when a Go program is stripped, so its functions are
// found all the same. Format of Go 1.18 and newer; every number in it is doubted.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "agent/symbols/elf_file.h"

namespace sonde {

// Calls with each function of the table. Refusal: SymbolNotFound where there is no table that can be read, TooLarge.
// Where C is linked in, programs of Go 1.26 and newer do not say where their code begins: SymbolNotFound, too.
using VisitGoFunction = std::function<void(std::string_view name, uint64_t address, uint64_t size)>;
Refusal each_go_function(const ElfFile& file, const VisitGoFunction& visit);

}  // namespace sonde
