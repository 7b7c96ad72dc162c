// SPDX-License-Identifier: Apache-2.0
// Durations, sizes, numbers, globs and guesses: what a person writes into a flag.
// Layers: base
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/base/duration.h"
#include "agent/base/text.h"

namespace {

void require(bool condition) {
  if (!condition) abort();
}

// What is printed must be read back as the same.
void round_trips(std::string_view text) {
  using namespace sonde;
  for (const PlainNumber plain : {PlainNumber::Refused, PlainNumber::Seconds, PlainNumber::Milliseconds}) {
    const auto ns = parse_duration(text, plain);
    if (!ns) continue;
    const auto again = parse_duration(format_duration(*ns));
    require(again && *again == *ns);
  }
  if (const auto bytes = parse_bytes(text)) {
    const auto again = parse_bytes(format_bytes(*bytes));
    require(again && *again == *bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace sonde;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  round_trips(text);
  if (const auto number = parse_integer(text, -1000, 1'000'000)) require(*number >= -1000 && *number <= 1'000'000);
  const std::size_t middle = text.find('\n');
  if (middle != std::string_view::npos && size < 512) {
    const std::string_view a = text.substr(0, middle), b = text.substr(middle + 1);
    glob_match(a, b);
    require(glob_match("*", b) && (b.find_first_of("*?") != std::string_view::npos || glob_match(b, b)));
    require(edit_distance(a, b) == edit_distance(b, a));
  }
  require(join(split(text, ','), ",") == text);
  split_list(text);
  return 0;
}
