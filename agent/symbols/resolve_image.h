// SPDX-License-Identifier: Apache-2.0
// Answers SymbolQueries of one file. What runs inside the confined process; also the fuzz target.
#pragma once

#include <span>

#include "agent/symbols/byte_source.h"
#include "agent/symbols/elf_file.h"
#include "agent/symbols/image.h"

namespace sonde {

ImageAnswer resolve_image(const ByteSource& source, Machine machine, std::span<const SymbolQuery> queries,
                          const ElfLimits& limits = {});

// As bytes, for a pipe. What comes back is as trustworthy as the file was: decoding checks everything.
std::string encode_answer(const ImageAnswer& answer);
// False if it is cut or makes no sense for so many queries.
bool decode_answer(std::string_view bytes, std::size_t queries, ImageAnswer& answer);

}  // namespace sonde
