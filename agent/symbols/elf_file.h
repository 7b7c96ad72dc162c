// SPDX-License-Identifier: Apache-2.0
// Headers and symbols of a 64-bit little-endian ELF file. Every number in the file is doubted; nothing is sized by one.
#pragma once

#include <elf.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/symbols/byte_source.h"
#include "agent/symbols/image.h"

namespace sonde {

struct ElfLimits {
  std::size_t headers = 4096;       // program and section headers, each
  std::size_t strings = 64 << 20;   // bytes of a string table
  std::size_t symbols = 8'000'000;  // over all tables
  std::size_t notes = 4 << 20;      // bytes of a note section
};

class ElfFile {
 public:
  // Refusal: BadElf, WrongArchitecture or TooLarge.
  static Refusal open(const ByteSource& source, Machine machine, const ElfLimits& limits, ElfFile& out);

  struct Section {
    std::string name;
    Elf64_Shdr header{};
  };
  const Section* section(std::string_view name) const;
  const std::vector<Section>& sections() const { return sections_; }
  Machine machine() const { return machine_; }
  uint64_t entry() const { return entry_; }  // address of the first instruction

  // Calls with each defined function symbol (also indirect ones); Refusal: TooLarge or BadElf.
  using Visit = std::function<void(std::string_view name, const Elf64_Sym& symbol)>;
  Refusal each_function(const Visit& visit) const;
  bool has_symbol_table() const;

  // File offset of a virtual address inside a loaded segment with these flags (PF_X, PF_W).
  std::optional<uint64_t> file_offset(uint64_t address, uint32_t flags) const;
  // A section's bytes, at most `limit`; empty if it has more or cannot be read.
  std::string content(const Section& section, std::size_t limit) const;
  bool read(uint64_t offset, void* out, std::size_t size) const { return source_->read(offset, out, size); }
  const ElfLimits& limits() const { return limits_; }

 private:
  Refusal read_sections(const Elf64_Ehdr& header);
  Refusal visit_table(const Section& table, std::size_t& left, const Visit& visit) const;

  const ByteSource* source_ = nullptr;
  Machine machine_ = this_machine();
  uint64_t entry_ = 0;
  ElfLimits limits_;
  std::vector<Elf64_Phdr> segments_;
  std::vector<Section> sections_;
};

}  // namespace sonde
