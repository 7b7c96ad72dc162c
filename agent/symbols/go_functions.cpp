// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/go_functions.h"

#include <cstring>
#include <string>

namespace sonde {
namespace {

// The table begins with a magic number, two zeros, the step of instruction addresses and the size of a pointer; then come
// numbers of 8 bytes.
constexpr uint32_t kMagic118 = 0xfffffff0, kMagic120 = 0xfffffff1;
enum Word : std::size_t { kFunctions = 0, kTextStart = 2, kNames = 3, kFunctionTable = 7, kWords = 8 };
constexpr std::size_t kHeader = 8 + kWords * 8;
constexpr std::size_t kLongestGoName = 4096;

class GoTable {
 public:
  explicit GoTable(std::string_view bytes) : bytes_(bytes) {}

  bool valid() const {
    const uint32_t magic = u32(0);
    return bytes_.size() >= kHeader && (magic == kMagic118 || magic == kMagic120) && bytes_[7] == 8;
  }
  uint64_t word(Word which) const { return number<uint64_t>(8 + which * 8); }
  uint64_t count() const { return word(kFunctions); }
  // Of a function, relative to the code's begin; that of the one behind the last is where the code ends.
  uint32_t begin(uint64_t index) const { return u32(word(kFunctionTable) + index * 8); }
  std::string_view name(uint64_t index) const {
    const uint64_t record = word(kFunctionTable) + u32(word(kFunctionTable) + index * 8 + 4);
    const uint64_t at = word(kNames) + u32(record + 4);
    if (at >= bytes_.size()) return {};
    const std::string_view rest = bytes_.substr(at, kLongestGoName);
    const auto end = rest.find('\0');
    return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
  }

 private:
  template <typename T>
  T number(uint64_t at) const {
    T value = 0;
    if (at <= bytes_.size() && bytes_.size() - at >= sizeof(T)) std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  uint32_t u32(uint64_t at) const { return number<uint32_t>(at); }

  std::string_view bytes_;
};

// Linkers leave it out since Go 1.26. Then the code begins where the section does, if the program begins with Go's own
// function, as it does without C.
uint64_t text_start(const ElfFile& file, const GoTable& table) {
  if (table.word(kTextStart)) return table.word(kTextStart);
  const ElfFile::Section* text = file.section(".text");
  if (!text) return 0;
  const uint64_t start = text->header.sh_addr;
  for (uint64_t i = 0; i < table.count(); ++i) {
    if (start + table.begin(i) == file.entry()) return table.name(i).starts_with("_rt0_") ? start : 0;
  }
  return 0;
}

}  // namespace

Refusal each_go_function(const ElfFile& file, const VisitGoFunction& visit) {
  const ElfFile::Section* section = file.section(".gopclntab");
  if (!section) section = file.section(".data.rel.ro.gopclntab");
  if (!section) return Refusal::SymbolNotFound;
  if (section->header.sh_size > file.limits().strings) return Refusal::TooLarge;
  const std::string bytes = file.content(*section, file.limits().strings);
  const GoTable table(bytes);
  if (!table.valid()) return Refusal::SymbolNotFound;
  if (table.count() > file.limits().symbols || table.count() > section->header.sh_size / 8) return Refusal::TooLarge;
  const uint64_t start = text_start(file, table);
  if (!start) return Refusal::SymbolNotFound;
  for (uint64_t i = 0; i < table.count(); ++i) {
    const uint32_t begin = table.begin(i), end = table.begin(i + 1);
    if (end > begin) visit(table.name(i), start + begin, end - begin);
  }
  return Refusal::None;
}

}  // namespace sonde
