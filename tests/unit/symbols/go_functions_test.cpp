// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/go_functions.h"

#include <gtest/gtest.h>

#include <map>

#include "agent/symbols/resolve_image.h"
#include "tests/unit/symbols/elf_builder.h"

namespace sonde::test {
namespace {

constexpr uint64_t kText = kBase + kCode;

template <typename T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A table of functions as Go's linker writes it.
std::string table_of(const std::vector<std::pair<std::string, uint32_t>>& functions, uint32_t end, uint64_t text_start,
                     uint32_t magic = 0xfffffff1) {
  std::string names, table, records;
  const std::size_t table_size = functions.size() * 8 + 4;
  for (const auto& [name, begin] : functions) {
    put(table, begin);
    put(table, static_cast<uint32_t>(table_size + records.size()));
    put(records, begin);
    put(records, static_cast<uint32_t>(names.size()));
    names += name + '\0';
  }
  put(table, end);
  std::string bytes;
  put(bytes, magic);
  bytes += std::string("\0\0\1\10", 4);
  const uint64_t at = 8 + 8 * 8;
  for (const uint64_t word : {uint64_t{functions.size()}, uint64_t{0}, text_start, at, uint64_t{0}, uint64_t{0},
                              uint64_t{0}, at + names.size()}) {
    put(bytes, word);
  }
  return bytes + names + table + records;
}

struct Found {
  Refusal refusal = Refusal::None;
  std::map<std::string, std::pair<uint64_t, uint64_t>> functions;
};

Found functions_of(const std::string& table, uint64_t entry = 0) {
  ElfBuilder builder;
  builder.code(std::string(64, '\x90'));
  builder.add_section(".gopclntab", SHT_PROGBITS, table, 0);
  builder.header().e_entry = entry;
  const std::string bytes = builder.build(false);
  const MemorySource source(bytes_of(bytes));
  ElfFile file;
  Found found;
  EXPECT_EQ(ElfFile::open(source, Machine::X86_64, {}, file), Refusal::None);
  found.refusal = each_go_function(file, [&](std::string_view name, uint64_t address, uint64_t size) {
    found.functions[std::string(name)] = {address, size};
  });
  return found;
}

TEST(GoFunctions, HaveNamesAddressesAndSizes) {
  for (const uint32_t magic : {0xfffffff0U, 0xfffffff1U}) {
    const Found found = functions_of(table_of({{"main.one", 0}, {"main.two", 16}}, 40, kText, magic));
    EXPECT_EQ(found.refusal, Refusal::None);
    ASSERT_EQ(found.functions.size(), 2U);
    EXPECT_EQ(found.functions.at("main.one"), std::pair(kText, uint64_t{16}));
    EXPECT_EQ(found.functions.at("main.two"), std::pair(kText + 16, uint64_t{24}));
  }
}

TEST(GoFunctions, WithoutABeginOfTheCodeOrWithAnotherFormatNothingIsGuessed) {
  EXPECT_EQ(functions_of(table_of({{"main.one", 0}}, 40, 0), kText).refusal, Refusal::SymbolNotFound)
      << "there is no .text";
  EXPECT_EQ(functions_of(table_of({{"main.one", 0}}, 40, kText, 0xfffffffa)).refusal, Refusal::SymbolNotFound)
      << "of Go 1.16";
  EXPECT_EQ(functions_of("").refusal, Refusal::SymbolNotFound);
}

TEST(GoFunctions, EveryByteMayBeWrongWithoutHarm) {
  const std::string table = table_of({{"main.one", 0}, {"main.two", 16}}, 40, kText);
  for (std::size_t at = 0; at < table.size(); ++at) {
    for (const char value : {'\0', '\x7f', '\xff'}) {
      std::string wrong = table;
      wrong[at] = value;
      EXPECT_LE(functions_of(wrong).functions.size(), 2U);
      EXPECT_LE(functions_of(table.substr(0, at)).functions.size(), 2U);
    }
  }
}

}  // namespace
}  // namespace sonde::test
