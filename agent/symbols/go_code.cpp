// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/go_code.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace sonde {
namespace {

constexpr std::size_t kMostReturns = 1024;
constexpr int kCheckLength = 8;  // instructions among which the stack check must be found

// cmp rsp (or what will be rsp), [r14 + 16]: r14 is the goroutine, 16 its stack guard.
bool compares_guard(const ZydisDecodedInstruction& instruction, const ZydisDecodedOperand* operands) {
  if (instruction.mnemonic != ZYDIS_MNEMONIC_CMP) return false;
  return std::any_of(operands, operands + 2, [](const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.base == ZYDIS_REGISTER_R14 &&
           (operand.mem.disp.value == 0x10 || operand.mem.disp.value == 0x18);
  });
}

GoCode read_x86(std::span<const unsigned char> code) {
  GoCode result;
  ZydisDecoder decoder;
  if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64))) return result;
  bool compared = false;
  int seen = 0;
  for (std::size_t at = 0; at < code.size(); ++seen) {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data() + at, code.size() - at, &instruction, operands))) {
      return result;
    }
    if (seen < kCheckLength && compares_guard(instruction, operands)) {
      compared = true;
    } else if (compared && !result.entry && instruction.meta.category == ZYDIS_CATEGORY_COND_BR) {
      result.entry = at + instruction.length;
    }
    if (instruction.mnemonic == ZYDIS_MNEMONIC_RET) {
      if (result.returns.size() >= kMostReturns) return result;
      result.returns.push_back(at);
    }
    at += instruction.length;
  }
  result.decoded = true;
  return result;
}

GoCode read_arm64(std::span<const unsigned char> code) {
  GoCode result;
  bool loaded = false;
  for (std::size_t at = 0; at + 4 <= code.size(); at += 4) {
    uint32_t word = 0;
    std::memcpy(&word, code.data() + at, 4);
    const bool in_check = at < kCheckLength * 4;
    // ldr x16, [x28, #16] (or #24): x28 is the goroutine; then cmp; then b.ls
    const uint32_t at_word = word >> 10 & 0xfff;
    const bool loads_guard = (word & 0xffc003ff) == (0xf9400000 | 28 << 5 | 16) && (at_word == 2 || at_word == 3);
    loaded = loaded || (in_check && loads_guard);
    if (loaded && !result.entry && (word & 0xff000010) == 0x54000000) result.entry = at + 4;
    if ((word & 0xfffffc1f) == 0xd65f0000) {
      if (result.returns.size() >= kMostReturns) return result;
      result.returns.push_back(at);
    }
  }
  result.decoded = code.size() % 4 == 0;
  return result;
}

}  // namespace

bool is_go(const ElfFile& file) {
  return std::ranges::any_of(file.sections(), [](const ElfFile::Section& section) {
    return section.name == ".gopclntab" || section.name == ".data.rel.ro.gopclntab" ||
           section.name == ".go.buildinfo" || section.name == ".note.go.buildid";
  });
}

bool has_register_abi(const ElfFile& file) {
  const ElfFile::Section* section = file.section(".go.buildinfo");
  if (!section) return false;
  constexpr std::string_view kMagic = "\xff Go buildinf:";
  constexpr std::size_t kHeader = 32;
  const std::string content = file.content(*section, 1 << 20);
  // The byte behind the pointer size: bit 1 says that the version stands here as text, which 1.18 began.
  return content.size() > kHeader && content.starts_with(kMagic) && (content[15] & 2);
}

GoCode read_go_code(Machine machine, std::span<const unsigned char> code) {
  return machine == Machine::Arm64 ? read_arm64(code) : read_x86(code);
}

}  // namespace sonde
