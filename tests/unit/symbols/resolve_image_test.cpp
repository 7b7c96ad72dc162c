// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/resolve_image.h"

#include <gtest/gtest.h>

#include "agent/symbols/go_code.h"
#include "agent/symbols/registers.h"
#include "agent/symbols/usdt.h"
#include "tests/unit/symbols/elf_builder.h"

namespace sonde::test {
namespace {

ImageAnswer resolve(const std::string& file, const std::vector<SymbolQuery>& queries, Machine machine = Machine::X86_64,
                    const ElfLimits& limits = {}) {
  return resolve_image(MemorySource(bytes_of(file)), machine, queries, limits);
}

constexpr std::string_view kReturnOne{"\xb8\x01\x00\x00\x00\xc3", 6};  // mov eax, 1; ret

// cmp rsp, [r14+16]; jbe to the end; push rbp; mov eax, 1; pop rbp; ret; mov eax, 2; ret; call; jmp begin
constexpr std::string_view kGoFunction{
    "\x49\x3b\x66\x10\x76\x0f\x55\xb8\x01\x00\x00\x00\x5d\xc3\xb8\x02\x00\x00\x00\xc3\x90\xe8\x00\x00\x00\x00\xeb\xe4",
    28};

TEST(ResolveImage, FindsFunctionsWhereTheyStandInTheFile) {
  ElfBuilder elf;
  elf.code("\x90\x90\x90\x90");
  elf.symbol("one", elf.code(kReturnOne), 6);
  elf.symbol("data", elf.code(kReturnOne), 6, STT_OBJECT);
  elf.symbol("elsewhere", 0x1234, 6);
  const ImageAnswer answer = resolve(
      elf.build(),
      {{"one", false, 0, true}, {"data", false, 0, false}, {"elsewhere", false, 0, false}, {"none", false, 0, false}});
  ASSERT_EQ(answer.places.size(), 1U);
  EXPECT_EQ(answer.places[0].offset, kCode + 4);
  EXPECT_FALSE(answer.places[0].is_return) << "C returns through the caller's address";
  EXPECT_FALSE(answer.go);
  const std::vector<Refusal> expected = {Refusal::None, Refusal::SymbolNotFound, Refusal::NotCode,
                                         Refusal::SymbolNotFound};
  EXPECT_EQ(answer.refusals, expected);
}

TEST(ResolveImage, NamesWhatIsWrongWithAFile) {
  ElfBuilder elf;
  elf.symbol("one", elf.code(kReturnOne), 6);
  const std::string good = elf.build();
  const std::vector<SymbolQuery> query = {{"one", false, 0, false}};
  EXPECT_EQ(resolve("", query).refusal, Refusal::BadElf);
  EXPECT_EQ(resolve("#!/bin/sh", query).refusal, Refusal::BadElf);
  EXPECT_EQ(resolve(good, query, Machine::Arm64).refusal, Refusal::WrongArchitecture);
  ElfBuilder small;
  small.header().e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(resolve(small.build(), query).refusal, Refusal::WrongArchitecture);
  EXPECT_EQ(resolve(good.substr(0, good.size() - 1), query).refusal, Refusal::BadElf) << "cut";
  ElfLimits few;
  few.symbols = 1;
  EXPECT_EQ(resolve(good, query, Machine::X86_64, few).refusal, Refusal::TooLarge);
  ElfLimits narrow;
  narrow.strings = 2;
  EXPECT_EQ(resolve(good, query, Machine::X86_64, narrow).refusal, Refusal::TooLarge);
}

TEST(ResolveImage, StrippedFilesSaySo) {
  ElfBuilder elf;
  elf.symbol("one", elf.code(kReturnOne), 6);
  const ImageAnswer answer = resolve(elf.build(false), {{"one", false, 0, false}});
  EXPECT_TRUE(answer.stripped);
  EXPECT_EQ(answer.refusals[0], Refusal::SymbolNotFound);
}

TEST(ResolveImage, EveryByteMayBeWrongWithoutHarm) {
  ElfBuilder elf;
  const uint64_t address = elf.code(kGoFunction);
  elf.symbol("main.one", address, kGoFunction.size());
  elf.usdt("p", "q", address, "8@%rdi");
  elf.add_section(".gopclntab", SHT_PROGBITS, "", 0);
  const std::string good = elf.build();
  for (std::size_t i = 0; i < good.size(); i += i < 512 ? 1 : 7) {
    for (const char value : {'\0', '\xff', '\x7f'}) {
      std::string bad = good;
      bad[i] = value;
      const ImageAnswer answer = resolve(bad, {{"main.one", false, 0, true}, {"p:q", true, 1, false}});
      ASSERT_EQ(answer.refusals.size(), 2U);
    }
  }
}

std::string build_info() {
  std::string content("\xff Go buildinf:\x08\x02", 16);
  content.resize(32, '\0');
  return content + "\x08go1.22.1";
}

TEST(ResolveImage, GoIsProbedBehindTheStackCheckAndAtEachReturn) {
  ElfBuilder elf;
  elf.symbol("main.one", elf.code(kGoFunction), kGoFunction.size());
  elf.symbol("c_code", elf.code(kReturnOne), 6);
  elf.add_section(".gopclntab", SHT_PROGBITS, "", 0);
  elf.add_section(".go.buildinfo", SHT_PROGBITS, build_info(), 0);
  const ImageAnswer answer =
      resolve(elf.build(), {{"main.one", false, 0, true}, {"c_code", false, 0, true}, {"c_code", false, 0, false}});
  EXPECT_TRUE(answer.go);
  ASSERT_EQ(answer.places.size(), 4U);
  EXPECT_EQ(answer.places[0].offset, kCode + 13);
  EXPECT_TRUE(answer.places[0].is_return);
  EXPECT_EQ(answer.places[1].offset, kCode + 19);
  EXPECT_EQ(answer.places[2].offset, kCode + 6);
  EXPECT_FALSE(answer.places[2].is_return);
  const std::vector<Refusal> expected = {Refusal::None, Refusal::Unsupported, Refusal::None};
  EXPECT_EQ(answer.refusals, expected) << "no return probe on C code in a Go program";
}

TEST(ResolveImage, GoOfUnknownVersionIsRefused) {
  ElfBuilder elf;
  elf.symbol("main.one", elf.code(kGoFunction), kGoFunction.size());
  elf.add_section(".gopclntab", SHT_PROGBITS, "", 0);
  EXPECT_EQ(resolve(elf.build(), {{"main.one", false, 0, false}}).refusals[0], Refusal::OldGo);
}

TEST(GoCode, ArmChecksItsStackToo) {
  // ldr x16, [x28, #16]; cmp sp, x16; b.ls; ret
  const uint32_t words[] = {0xf9400b90, 0xeb3063ff, 0x54000089, 0xd65f03c0};
  const GoCode code = read_go_code(Machine::Arm64, {reinterpret_cast<const unsigned char*>(words), sizeof(words)});
  EXPECT_TRUE(code.decoded);
  EXPECT_EQ(code.entry, 12U);
  EXPECT_EQ(code.returns, std::vector<uint64_t>{12});
}

TEST(GoCode, WhatCannotBeDecodedIsSaid) {
  const unsigned char bytes[] = {0x06, 0x06};  // no instruction in 64-bit mode
  EXPECT_FALSE(read_go_code(Machine::X86_64, bytes).decoded);
}

TEST(Usdt, AllPlacesOfAProbeWithArgumentAndSemaphore) {
  ElfBuilder elf;
  const uint64_t first = elf.code(kReturnOne), second = elf.code(kReturnOne);
  const uint64_t semaphore = kData + kCode + 12 + 8;
  elf.usdt("app", "request", first, "8@%rdi -4@-20(%rbp)", semaphore);
  elf.usdt("app", "other", first, "");
  elf.usdt("app", "request", second, "8@%rsi -4@$7", semaphore);
  const ImageAnswer answer = resolve(elf.build(), {{"app:request", true, 2, false}, {"app:other", true, 1, false}});
  ASSERT_EQ(answer.places.size(), 2U);
  EXPECT_EQ(answer.places[0].offset, kCode);
  EXPECT_EQ(answer.places[0].semaphore, kCode + 12 + 8);
  EXPECT_EQ(answer.places[0].argument.kind, ArgumentPlace::Kind::Memory);
  EXPECT_EQ(answer.places[0].argument.register_offset, x86::kRbp);
  EXPECT_EQ(answer.places[0].argument.displacement, -20);
  EXPECT_EQ(answer.places[0].argument.bytes, 4);
  EXPECT_TRUE(answer.places[0].argument.is_signed);
  EXPECT_EQ(answer.places[1].argument.kind, ArgumentPlace::Kind::Constant);
  EXPECT_EQ(answer.places[1].argument.displacement, 7);
  EXPECT_EQ(answer.refusals[1], Refusal::Unsupported) << "it has no argument";
}

TEST(Usdt, ArgumentsOfBothMachines) {
  const auto arm = usdt_argument(Machine::Arm64, "8@x1 -4@[sp, 24] 8@[x0]", 2);
  ASSERT_TRUE(arm);
  EXPECT_EQ(arm->kind, ArgumentPlace::Kind::Memory);
  EXPECT_EQ(arm->register_offset, 31 * 8);
  EXPECT_EQ(arm->displacement, 24);
  const auto x86 = usdt_argument(Machine::X86_64, "1@%r10b", 1);
  ASSERT_TRUE(x86);
  EXPECT_EQ(x86->bytes, 1);
  EXPECT_EQ(x86->register_offset, x86::kR10);
  for (const char* strange :
       {"", "8", "8@", "3@%rdi", "4f@%xmm0", "8@%rdi(", "8@12", "8@name(%rip)", "99999999999@%rdi"}) {
    EXPECT_FALSE(usdt_argument(Machine::X86_64, strange, 1)) << strange;
  }
  EXPECT_FALSE(usdt_argument(Machine::X86_64, "8@%rdi", 2));
}

TEST(Answer, SurvivesThePipeAndDoubtsWhatComesOut) {
  ImageAnswer answer;
  answer.go = true;
  answer.places.push_back({1, true, 0x1234, 0x88, {ArgumentPlace::Kind::Memory, true, 4, 72, -8}});
  answer.refusals = {Refusal::None, Refusal::NotCode};
  const std::string bytes = encode_answer(answer);
  ImageAnswer back;
  ASSERT_TRUE(decode_answer(bytes, 2, back));
  EXPECT_EQ(back.places[0].offset, 0x1234U);
  EXPECT_EQ(back.places[0].argument.displacement, -8);
  EXPECT_EQ(back.refusals, answer.refusals);
  EXPECT_FALSE(decode_answer(bytes, 1, back)) << "a place of a question that was not asked";
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_answer(std::string_view(bytes).substr(0, length), 2, back)) << length;
  }
  EXPECT_FALSE(decode_answer(bytes + "x", 2, back));
}

}  // namespace
}  // namespace sonde::test
