// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/elf_file.h"

#include <algorithm>
#include <cstring>

namespace sonde {
namespace {

constexpr std::size_t kSymbolsAtOnce = 4096;
constexpr std::size_t kLongestName = 4096;

std::string_view name_at(std::string_view strings, uint64_t offset) {
  if (offset >= strings.size()) return {};
  const std::string_view rest = strings.substr(offset, kLongestName);
  const auto end = rest.find('\0');
  return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
}

bool is_function(const Elf64_Sym& symbol) {
  const auto type = ELF64_ST_TYPE(symbol.st_info);
  return (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol.st_shndx != SHN_UNDEF && symbol.st_value != 0;
}

}  // namespace

Refusal ElfFile::open(const ByteSource& source, Machine machine, const ElfLimits& limits, ElfFile& out) {
  Elf64_Ehdr header{};
  if (!source.read(0, &header, sizeof(header)) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return Refusal::BadElf;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != static_cast<uint16_t>(machine)) {
    return Refusal::WrongArchitecture;
  }
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return Refusal::BadElf;
  out = ElfFile();
  out.source_ = &source;
  out.machine_ = machine;
  out.entry_ = header.e_entry;
  out.limits_ = limits;
  if (header.e_phnum > limits.headers || header.e_shnum > limits.headers) return Refusal::TooLarge;
  if (header.e_phnum == 0 || header.e_phentsize != sizeof(Elf64_Phdr)) return Refusal::BadElf;
  out.segments_.resize(header.e_phnum);
  if (!source.read(header.e_phoff, out.segments_.data(), out.segments_.size() * sizeof(Elf64_Phdr)))
    return Refusal::BadElf;
  return out.read_sections(header);
}

Refusal ElfFile::read_sections(const Elf64_Ehdr& header) {
  if (header.e_shnum == 0 || header.e_shoff == 0) return Refusal::None;  // all of it was stripped
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shstrndx >= header.e_shnum) return Refusal::BadElf;
  std::vector<Elf64_Shdr> headers(header.e_shnum);
  if (!source_->read(header.e_shoff, headers.data(), headers.size() * sizeof(Elf64_Shdr))) return Refusal::BadElf;
  Section names;
  names.header = headers[header.e_shstrndx];
  const std::string strings = content(names, 1 << 20);
  for (const Elf64_Shdr& one : headers) sections_.push_back({std::string(name_at(strings, one.sh_name)), one});
  return Refusal::None;
}

const ElfFile::Section* ElfFile::section(std::string_view name) const {
  const auto found = std::ranges::find(sections_, name, &Section::name);
  return found == sections_.end() ? nullptr : &*found;
}

bool ElfFile::has_symbol_table() const {
  return std::ranges::any_of(sections_, [](const Section& s) { return s.header.sh_type == SHT_SYMTAB; });
}

std::string ElfFile::content(const Section& section, std::size_t limit) const {
  if (section.header.sh_type == SHT_NOBITS || section.header.sh_size > limit) return {};
  std::string bytes(section.header.sh_size, '\0');
  if (!source_->read(section.header.sh_offset, bytes.data(), bytes.size())) return {};
  return bytes;
}

Refusal ElfFile::each_function(const Visit& visit) const {
  std::size_t left = limits_.symbols;
  for (const Section& section : sections_) {
    if (section.header.sh_type != SHT_SYMTAB && section.header.sh_type != SHT_DYNSYM) continue;
    if (const Refusal refusal = visit_table(section, left, visit); refusal != Refusal::None) return refusal;
  }
  return Refusal::None;
}

Refusal ElfFile::visit_table(const Section& table, std::size_t& left, const Visit& visit) const {
  if (table.header.sh_link >= sections_.size() || table.header.sh_entsize != sizeof(Elf64_Sym)) return Refusal::BadElf;
  const std::size_t count = table.header.sh_size / sizeof(Elf64_Sym);
  const Section& strings_section = sections_[table.header.sh_link];
  if (count > left || strings_section.header.sh_size > limits_.strings) return Refusal::TooLarge;
  left -= count;
  const std::string strings = content(strings_section, limits_.strings);
  std::vector<Elf64_Sym> some(std::min(count, kSymbolsAtOnce));
  for (std::size_t done = 0; done < count; done += some.size()) {
    const std::size_t n = std::min(some.size(), count - done);
    if (!source_->read(table.header.sh_offset + done * sizeof(Elf64_Sym), some.data(), n * sizeof(Elf64_Sym))) {
      return Refusal::BadElf;
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (is_function(some[i])) visit(name_at(strings, some[i].st_name), some[i]);
    }
  }
  return Refusal::None;
}

std::optional<uint64_t> ElfFile::file_offset(uint64_t address, uint32_t flags) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD || (segment.p_flags & flags) != flags) continue;
    if (address < segment.p_vaddr || address - segment.p_vaddr >= segment.p_filesz) continue;
    return segment.p_offset + (address - segment.p_vaddr);
  }
  return std::nullopt;
}

}  // namespace sonde
