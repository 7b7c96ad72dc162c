// SPDX-License-Identifier: Apache-2.0
// Small ELF files, made in memory.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/symbols/image.h"

namespace sonde::test {

inline constexpr uint64_t kBase = 0x400000;  // virtual address of file offset 0 of the code segment
inline constexpr uint64_t kCode = 0x1000;    // file offset of the code
inline constexpr uint64_t kData = 0x200000;  // what is added to an offset in the data segment

// One code segment at kCode, one data segment behind it, sections as added.
class ElfBuilder {
 public:
  explicit ElfBuilder(Machine machine = Machine::X86_64) {
    header_.e_machine = static_cast<uint16_t>(machine);
    add_section("", SHT_NULL, "", 0);
  }
  Elf64_Ehdr& header() { return header_; }

  // Code at the given offset behind kCode; returns its address.
  uint64_t code(std::string_view bytes) {
    const uint64_t address = kBase + kCode + code_.size();
    code_ += bytes;
    return address;
  }
  void symbol(const std::string& name, uint64_t address, uint64_t size, int type = STT_FUNC) {
    Elf64_Sym symbol{};
    symbol.st_name = static_cast<uint32_t>(names_.size());
    symbol.st_info = static_cast<unsigned char>(STB_GLOBAL << 4 | type);
    symbol.st_shndx = 1;
    symbol.st_value = address;
    symbol.st_size = size;
    names_ += name + '\0';
    symbols_.append(reinterpret_cast<const char*>(&symbol), sizeof(symbol));
  }
  void usdt(const std::string& provider, const std::string& name, uint64_t address, const std::string& arguments,
            uint64_t semaphore = 0) {
    std::string body;
    for (const uint64_t number : {address, uint64_t{0}, semaphore}) {
      body.append(reinterpret_cast<const char*>(&number), sizeof(number));
    }
    body += provider + '\0' + name + '\0' + arguments + '\0';
    const Elf64_Nhdr note{8, static_cast<uint32_t>(body.size()), 3};
    notes_.append(reinterpret_cast<const char*>(&note), sizeof(note));
    notes_.append("stapsdt\0", 8);
    body.resize((body.size() + 3) & ~std::size_t{3});
    notes_ += body;
  }
  std::size_t add_section(const std::string& name, uint32_t type, const std::string& content, uint64_t entry_size,
                          uint32_t link = 0) {
    sections_.push_back({name, type, content, entry_size, link});
    return sections_.size() - 1;
  }

  std::string build(bool with_symbols = true) {
    if (with_symbols) {
      const auto strings = add_section(".strtab", SHT_STRTAB, names_, 0);
      add_section(".symtab", SHT_SYMTAB, symbols_, sizeof(Elf64_Sym), static_cast<uint32_t>(strings));
    }
    if (!notes_.empty()) add_section(".note.stapsdt", SHT_NOTE, notes_, 0);
    std::string section_names;
    std::vector<Elf64_Shdr> headers;
    std::string file(kCode, '\0');
    file += code_;
    const uint64_t code_end = file.size();
    file.append(64, '\0');  // data
    add_section(".shstrtab", SHT_STRTAB, "", 0);
    for (const Section& section : sections_) section_names += section.name + '\0';
    sections_.back().content = section_names;
    uint32_t name_at = 0;
    for (const Section& section : sections_) {
      Elf64_Shdr one{};
      one.sh_name = name_at;
      name_at += static_cast<uint32_t>(section.name.size() + 1);
      one.sh_type = section.type;
      one.sh_offset = file.size();
      one.sh_size = section.content.size();
      one.sh_entsize = section.entry_size;
      one.sh_link = section.link;
      headers.push_back(one);
      file += section.content;
    }
    std::memcpy(header_.e_ident, ELFMAG, SELFMAG);
    if (!header_.e_ident[EI_CLASS]) header_.e_ident[EI_CLASS] = ELFCLASS64;
    header_.e_ident[EI_DATA] = ELFDATA2LSB;
    header_.e_type = ET_EXEC;
    header_.e_phoff = sizeof(header_);
    header_.e_phnum = 2;
    header_.e_phentsize = sizeof(Elf64_Phdr);
    header_.e_shoff = file.size();
    header_.e_shnum = static_cast<uint16_t>(headers.size());
    header_.e_shentsize = sizeof(Elf64_Shdr);
    header_.e_shstrndx = static_cast<uint16_t>(headers.size() - 1);
    Elf64_Phdr segments[2] = {};
    segments[0] = {PT_LOAD, PF_R | PF_X, 0, kBase, kBase, code_end, code_end, 0x1000};
    segments[1] = {PT_LOAD, PF_R | PF_W, code_end, kData + code_end, kData + code_end, 64, 64, 0x1000};
    for (const Elf64_Shdr& one : headers) file.append(reinterpret_cast<const char*>(&one), sizeof(one));
    std::memcpy(file.data(), &header_, sizeof(header_));
    std::memcpy(file.data() + sizeof(header_), segments, sizeof(segments));
    return file;
  }

 private:
  struct Section {
    std::string name;
    uint32_t type;
    std::string content;
    uint64_t entry_size;
    uint32_t link;
  };
  Elf64_Ehdr header_{};
  std::string code_, names_{std::string(1, '\0')}, symbols_{std::string(sizeof(Elf64_Sym), '\0')}, notes_;
  std::vector<Section> sections_;
};

inline std::span<const unsigned char> bytes_of(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

}  // namespace sonde::test
