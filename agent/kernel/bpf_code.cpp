// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/bpf_code.h"

#include <elf.h>

#include <array>
#include <cstring>

namespace sonde {
namespace {

template <typename T>
std::vector<T> table_of(std::string_view bytes) {
  std::vector<T> table(bytes.size() / sizeof(T));
  if (!table.empty()) std::memcpy(table.data(), bytes.data(), table.size() * sizeof(T));
  return table;
}

std::string text_at(std::string_view strings, uint32_t offset) {
  return offset < strings.size() ? std::string(strings.data() + offset) : std::string();
}

// What is known of the registers at an instruction.
using Registers = std::array<std::optional<int64_t>, 11>;

// False: nothing new.
bool merge(std::optional<Registers>& into, const Registers& from) {
  if (!into) {
    into = from;
    return true;
  }
  bool changed = false;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!(*into)[i] || (*into)[i] == from[i]) continue;
    (*into)[i].reset();
    changed = true;
  }
  return changed;
}

std::optional<int64_t> computed(uint8_t operation, int64_t a, int64_t b, bool wide) {
  const uint64_t shift = static_cast<uint64_t>(b) & (wide ? 63 : 31);
  uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  if (!wide) x = static_cast<uint32_t>(x), y = static_cast<uint32_t>(y);
  switch (operation) {
    case BPF_MOV: x = y; break;
    case BPF_ADD: x += y; break;
    case BPF_SUB: x -= y; break;
    case BPF_AND: x &= y; break;
    case BPF_OR: x |= y; break;
    case BPF_XOR: x ^= y; break;
    case BPF_LSH: x <<= shift; break;
    case BPF_RSH: x >>= shift; break;
    default: return {};
  }
  return static_cast<int64_t>(wide ? x : static_cast<uint32_t>(x));
}

std::optional<bool> jumps(uint8_t operation, int64_t a, int64_t b, bool wide) {
  const uint64_t x = wide ? static_cast<uint64_t>(a) : static_cast<uint32_t>(a);
  const uint64_t y = wide ? static_cast<uint64_t>(b) : static_cast<uint32_t>(b);
  switch (operation) {
    case BPF_JEQ: return x == y;
    case BPF_JNE: return x != y;
    case BPF_JGT: return x > y;
    case BPF_JGE: return x >= y;
    case BPF_JLT: return x < y;
    case BPF_JLE: return x <= y;
    case BPF_JSET: return (x & y) != 0;
    default: return {};
  }
}

}  // namespace

BpfCode::BpfCode(std::span<const unsigned char> object) {
  const std::string_view file(reinterpret_cast<const char*>(object.data()), object.size());
  const auto header = table_of<Elf64_Ehdr>(file.substr(0, sizeof(Elf64_Ehdr))).at(0);
  const auto headers = table_of<Elf64_Shdr>(file.substr(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr)));
  const auto bytes = [&](const Elf64_Shdr& one) {
    return one.sh_type == SHT_NOBITS ? std::string_view() : file.substr(one.sh_offset, one.sh_size);
  };
  std::vector<std::string> names;
  for (const Elf64_Shdr& one : headers) {
    names.push_back(text_at(bytes(headers[header.e_shstrndx]), one.sh_name));
    contents_[names.back()] = bytes(one);
    if ((one.sh_flags & SHF_EXECINSTR) != 0)
      sections_[names.back()] = {names.back(), table_of<bpf_insn>(bytes(one)), {}};
  }
  std::vector<Elf64_Sym> symbols;
  for (const Elf64_Shdr& one : headers) {
    if (one.sh_type != SHT_SYMTAB) continue;
    symbols = table_of<Elf64_Sym>(bytes(one));
    for (const Elf64_Sym& symbol : symbols) {
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx >= names.size()) continue;
      programs_[text_at(bytes(headers[one.sh_link]), symbol.st_name)] = {
          names[symbol.st_shndx], static_cast<uint32_t>(symbol.st_value / sizeof(bpf_insn))};
    }
  }
  // Calls of functions in other sections, and functions that are handed to helpers.
  for (const Elf64_Shdr& one : headers) {
    if (one.sh_type != SHT_REL || one.sh_info >= names.size() || !sections_.contains(names[one.sh_info])) continue;
    Section& section = sections_[names[one.sh_info]];
    for (const Elf64_Rel& relocation : table_of<Elf64_Rel>(bytes(one))) {
      const Elf64_Sym& symbol = symbols.at(ELF64_R_SYM(relocation.r_info));
      if (symbol.st_shndx >= names.size() || !sections_.contains(names[symbol.st_shndx])) continue;
      const auto at = static_cast<uint32_t>(relocation.r_offset / sizeof(bpf_insn));
      const bpf_insn& instruction = section.code.at(at);
      const bool call = instruction.code == (BPF_JMP | BPF_CALL);
      const int64_t offset = call ? instruction.imm + 1 : instruction.imm / static_cast<int64_t>(sizeof(bpf_insn));
      const int64_t target = static_cast<int64_t>(symbol.st_value / sizeof(bpf_insn)) + offset;
      section.calls[at] = {names[symbol.st_shndx], static_cast<uint32_t>(target)};
    }
  }
}

std::string_view BpfCode::content(std::string_view section) const {
  const auto found = contents_.find(section);
  return found == contents_.end() ? std::string_view() : found->second;
}

std::optional<BpfCode::Place> BpfCode::program(const std::string& name) const {
  const auto found = programs_.find(name);
  return found == programs_.end() ? std::nullopt : std::optional(found->second);
}

std::set<BpfCode::Place> BpfCode::reachable(const Place& begin, const Answers& answers) const {
  std::set<Place> seen, begun;
  std::vector<Place> functions{begin};
  while (!functions.empty()) {
    const Place next = functions.back();
    functions.pop_back();
    if (begun.insert(next).second) reach(next, answers, seen, functions);
  }
  return seen;
}

// One function, with nothing known of its arguments. What it calls is added to `functions`.
void BpfCode::reach(const Place& begin, const Answers& answers, std::set<Place>& seen,
                    std::vector<Place>& functions) const {
  const auto section = sections_.find(begin.section);
  if (section == sections_.end()) return;
  const std::vector<bpf_insn>& code = section->second.code;
  std::vector<std::optional<Registers>> known(code.size());
  std::vector<uint32_t> work;
  const auto go_to = [&](int64_t at, const Registers& registers) {
    if (at < 0 || static_cast<std::size_t>(at) >= code.size()) return;
    if (merge(known[static_cast<std::size_t>(at)], registers)) work.push_back(static_cast<uint32_t>(at));
  };
  go_to(begin.instruction, {});
  while (!work.empty()) {
    const uint32_t at = work.back();
    work.pop_back();
    seen.insert({begin.section, at});
    const bpf_insn& one = code[at];
    Registers registers = *known[at];
    const auto kind = BPF_CLASS(one.code);
    const auto answered = answers.find({begin.section, at});
    const std::optional<int64_t> operand = BPF_SRC(one.code) == BPF_X  ? registers[one.src_reg]
                                           : answered != answers.end() ? answered->second
                                                                       : std::optional<int64_t>(one.imm);
    if (const auto call = section->second.calls.find(at); call != section->second.calls.end()) {
      functions.push_back({call->second.first, call->second.second});
    }
    if (one.code == (BPF_LD | BPF_IMM | BPF_DW)) {
      registers[one.dst_reg] = answered != answers.end() ? answered->second : std::nullopt;
      go_to(at + 2, registers);
    } else if (kind == BPF_ALU || kind == BPF_ALU64) {
      auto& target = registers[one.dst_reg];
      const bool moves = BPF_OP(one.code) == BPF_MOV;
      target = operand && (moves || target)
                   ? computed(BPF_OP(one.code), target.value_or(0), *operand, kind == BPF_ALU64)
                   : std::nullopt;
      go_to(at + 1, registers);
    } else if (kind == BPF_JMP || kind == BPF_JMP32) {
      const auto operation = BPF_OP(one.code);
      if (operation == BPF_EXIT) continue;
      if (operation == BPF_JA) {
        go_to(int64_t{at} + 1 + one.off, registers);
      } else if (operation == BPF_CALL) {
        const bool within = one.src_reg == 1 && !section->second.calls.contains(at);  // BPF_PSEUDO_CALL
        if (within) functions.push_back({begin.section, static_cast<uint32_t>(int64_t{at} + 1 + one.imm)});
        for (std::size_t i = 0; i < 6; ++i) registers[i].reset();
        go_to(at + 1, registers);
      } else {
        const auto& left = registers[one.dst_reg];
        const auto taken = left && operand ? jumps(operation, *left, *operand, kind == BPF_JMP) : std::nullopt;
        if (!taken || *taken) go_to(int64_t{at} + 1 + one.off, registers);
        if (!taken || !*taken) go_to(at + 1, registers);
      }
    } else {
      if (kind == BPF_LDX) registers[one.dst_reg].reset();
      if (kind == BPF_STX && BPF_MODE(one.code) == BPF_ATOMIC) registers[one.src_reg].reset(), registers[0].reset();
      go_to(at + 1, registers);
    }
  }
}

}  // namespace sonde
