// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/usdt.h"

#include <array>
#include <charconv>
#include <cstring>

#include "agent/base/text.h"
#include "agent/symbols/registers.h"

namespace sonde {
namespace {

constexpr std::size_t kMostProbes = 100'000;
constexpr uint32_t kStapSdt = 3;

std::size_t aligned(std::size_t value) { return (value + 3) & ~std::size_t{3}; }

// Takes a zero-terminated text from the front.
std::string_view take_text(std::string_view& from) {
  const auto end = from.find('\0');
  const std::string_view text = from.substr(0, end);
  from = end == std::string_view::npos ? std::string_view() : from.substr(end + 1);
  return text;
}

struct X86Register {
  std::array<std::string_view, 4> names;  // of 64, 32, 16 and 8 bits
  uint16_t offset;
};
constexpr X86Register kX86Registers[] = {
    {{"rax", "eax", "ax", "al"}, x86::kRax},      {{"rbx", "ebx", "bx", "bl"}, x86::kRbx},
    {{"rcx", "ecx", "cx", "cl"}, x86::kRcx},      {{"rdx", "edx", "dx", "dl"}, x86::kRdx},
    {{"rsi", "esi", "si", "sil"}, x86::kRsi},     {{"rdi", "edi", "di", "dil"}, x86::kRdi},
    {{"rbp", "ebp", "bp", "bpl"}, x86::kRbp},     {{"rsp", "esp", "sp", "spl"}, x86::kRsp},
    {{"r8", "r8d", "r8w", "r8b"}, x86::kR8},      {{"r9", "r9d", "r9w", "r9b"}, x86::kR9},
    {{"r10", "r10d", "r10w", "r10b"}, x86::kR10}, {{"r11", "r11d", "r11w", "r11b"}, x86::kR11},
    {{"r12", "r12d", "r12w", "r12b"}, x86::kR12}, {{"r13", "r13d", "r13w", "r13b"}, x86::kR13},
    {{"r14", "r14d", "r14w", "r14b"}, x86::kR14}, {{"r15", "r15d", "r15w", "r15b"}, x86::kR15},
};

std::optional<uint16_t> register_offset(Machine machine, std::string_view name) {
  if (machine == Machine::Arm64) {
    if (name == "sp") return uint16_t{31 * 8};
    if (name.empty() || (name[0] != 'x' && name[0] != 'w')) return std::nullopt;
    const auto number = parse_integer(name.substr(1), 0, 30);
    if (!number) return std::nullopt;
    return static_cast<uint16_t>(*number * 8);
  }
  for (const X86Register& one : kX86Registers) {
    for (const std::string_view known : one.names) {
      if (known == name) return one.offset;
    }
  }
  return std::nullopt;
}

bool take_number(std::string_view text, int32_t& out) {
  if (text.starts_with("+")) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// "%rdi", "$-5", "-20(%rbp)", "(%rax)"
bool x86_operand(std::string_view text, ArgumentPlace& place) {
  if (text.starts_with("$")) {
    place.kind = ArgumentPlace::Kind::Constant;
    return take_number(text.substr(1), place.displacement);
  }
  const auto open = text.find('(');
  place.kind = open == std::string_view::npos ? ArgumentPlace::Kind::Register : ArgumentPlace::Kind::Memory;
  std::string_view name = text;
  if (open != std::string_view::npos) {
    if (!text.ends_with(")")) return false;
    if (open > 0 && !take_number(text.substr(0, open), place.displacement)) return false;
    name = text.substr(open + 1, text.size() - open - 2);
  }
  if (!name.starts_with("%")) return false;
  const auto offset = register_offset(Machine::X86_64, name.substr(1));
  if (offset) place.register_offset = *offset;
  return offset.has_value();
}

// "x1", "5", "[sp, 24]", "[x0]"
bool arm64_operand(std::string_view text, ArgumentPlace& place) {
  std::string_view name = text;
  place.kind = ArgumentPlace::Kind::Register;
  if (text.starts_with("[")) {
    if (!text.ends_with("]")) return false;
    place.kind = ArgumentPlace::Kind::Memory;
    const auto parts = split(text.substr(1, text.size() - 2), ',');
    if (parts.size() > 2) return false;
    name = trim(parts[0]);
    if (parts.size() == 2 && !take_number(trim(parts[1]), place.displacement)) return false;
  } else if (take_number(text, place.displacement)) {
    place.kind = ArgumentPlace::Kind::Constant;
    return true;
  }
  const auto offset = register_offset(Machine::Arm64, name);
  if (offset) place.register_offset = *offset;
  return offset.has_value();
}

// Splits at spaces outside of brackets.
std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> list;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') ++depth;
    if (i < text.size() && text[i] == ']') --depth;
    if (i < text.size() && (text[i] != ' ' || depth > 0)) continue;
    if (i > begin) list.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  return list;
}

}  // namespace

std::optional<ArgumentPlace> usdt_argument(Machine machine, std::string_view arguments, int number) {
  const auto list = words(arguments.substr(0, 4096));
  if (number < 1 || static_cast<std::size_t>(number) > list.size()) return std::nullopt;
  const std::string_view word = list[static_cast<std::size_t>(number - 1)];
  const auto at = word.find('@');
  int32_t width = 0;
  if (at == std::string_view::npos || !take_number(word.substr(0, at), width)) return std::nullopt;
  ArgumentPlace place;
  place.is_signed = width < 0;
  if (width != 1 && width != 2 && width != 4 && width != 8 && width != -1 && width != -2 && width != -4 &&
      width != -8) {
    return std::nullopt;
  }
  place.bytes = static_cast<uint8_t>(width < 0 ? -width : width);
  const std::string_view operand = word.substr(at + 1);
  const bool understood = machine == Machine::Arm64 ? arm64_operand(operand, place) : x86_operand(operand, place);
  if (!understood) return std::nullopt;
  return place;
}

std::vector<UsdtProbe> usdt_probes(const ElfFile& file) {
  std::vector<UsdtProbe> probes;
  const ElfFile::Section* notes = file.section(".note.stapsdt");
  if (!notes) return probes;
  // Where .stapsdt.base stood when the note was written and where it is now: they differ after prelinking.
  const ElfFile::Section* base = file.section(".stapsdt.base");
  const std::string content = file.content(*notes, file.limits().notes);
  std::string_view rest = content;
  while (rest.size() >= sizeof(Elf64_Nhdr) && probes.size() < kMostProbes) {
    Elf64_Nhdr header;
    std::memcpy(&header, rest.data(), sizeof(header));
    rest.remove_prefix(sizeof(header));
    const std::size_t name = aligned(header.n_namesz), description = aligned(header.n_descsz);
    if (header.n_namesz > 64 || header.n_descsz > (1 << 16) || name + description > rest.size()) break;
    const bool ours = header.n_type == kStapSdt && rest.substr(0, 8) == std::string_view("stapsdt", 8);
    std::string_view body = rest.substr(name, header.n_descsz);
    rest.remove_prefix(name + description);
    if (!ours || body.size() < 24) continue;
    uint64_t numbers[3];
    std::memcpy(numbers, body.data(), sizeof(numbers));
    body.remove_prefix(sizeof(numbers));
    const uint64_t moved = base ? base->header.sh_addr - numbers[1] : 0;
    UsdtProbe probe;
    probe.address = numbers[0] + moved;
    probe.semaphore = numbers[2] ? numbers[2] + moved : 0;
    probe.name = std::string(take_text(body));
    probe.name += ":" + std::string(take_text(body));
    probe.arguments = std::string(take_text(body));
    probes.push_back(std::move(probe));
  }
  return probes;
}

}  // namespace sonde
