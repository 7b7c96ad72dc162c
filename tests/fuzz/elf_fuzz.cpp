// SPDX-License-Identifier: Apache-2.0
// What a container's programs are made of: ELF headers and symbols, Go's machine code, USDT notes and their arguments.
// Layers: symbols
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent/symbols/go_code.h"
#include "agent/symbols/resolve_image.h"
#include "agent/symbols/usdt.h"

namespace {

void require(bool condition) {
  if (!condition) abort();
}

void resolve(std::span<const unsigned char> bytes, sonde::Machine machine) {
  using namespace sonde;
  const std::vector<SymbolQuery> queries = {
      {"main", false, 0, false}, {"main.main", false, 0, true}, {"p:one", true, 1, false}, {"p:two", true, 0, false}};
  ElfLimits limits;
  limits.strings = 1 << 20;
  limits.symbols = 10'000;
  const ImageAnswer answer = resolve_image(MemorySource(bytes), machine, queries, limits);
  require(answer.refusals.size() == queries.size());
  for (const CodePlace& place : answer.places) require(place.query < queries.size());
  ImageAnswer again;
  require(decode_answer(encode_answer(answer), queries.size(), again));
  require(again.places.size() == answer.places.size() && again.refusals == answer.refusals);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace sonde;
  const std::span<const unsigned char> bytes(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const Machine machine : {Machine::X86_64, Machine::Arm64}) {
    resolve(bytes, machine);
    const GoCode code = read_go_code(machine, bytes);
    for (const uint64_t at : code.returns) require(at < size);
    if (code.decoded) require(code.entry <= size);
    for (int argument = 1; argument < 4; ++argument) {
      if (const auto place = usdt_argument(machine, text, argument)) require(place->register_offset <= 31 * 8);
    }
  }
  ImageAnswer answer;
  decode_answer(text, 4, answer);
  return 0;
}
