// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Pressure stall information of a cgroup: total times in its files cpu.pressure, memory.pressure and io.pressure
// (Documentation/accounting/psi.rst), in microseconds.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "agent/base/result.h"
#include "agent/module/module.h"

namespace sonde {

inline constexpr std::array<std::string_view, 3> kPressureResources = {"cpu", "memory", "io"};
inline constexpr std::array<std::string_view, 3> kPressureFiles = {"cpu.pressure", "memory.pressure", "io.pressure"};
inline constexpr std::array<std::string_view, 2> kPressureKinds = {"some", "full"};
inline constexpr std::size_t kPressures = kPressureResources.size() * kPressureKinds.size();

// "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull …": the totals, in the order of kPressureKinds. A kind that is not
// there, or not a number, is left as it was.
inline void parse_pressure(std::string_view text, std::span<uint64_t> totals) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto at = line.find(" total=");
    if (at == std::string_view::npos) continue;
    const std::string_view number = line.substr(at + 7);
    uint64_t total = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), total);
    if (error != std::errc() || end != number.data() + number.size()) continue;
    for (std::size_t kind = 0; kind < kPressureKinds.size() && kind < totals.size(); ++kind) {
      if (line.starts_with(std::string(kPressureKinds[kind]) + " ")) totals[kind] = total;
    }
  }
}

// totals[resource * 2 + kind]. A kernel without PSI, or one that has it switched off, leaves them as they were.
inline Result<void> read_pressure(SubjectFiles& files, std::span<uint64_t> totals) {
  for (std::size_t resource = 0; resource < kPressureResources.size(); ++resource) {
    std::array<char, 256> text{};
    const ssize_t size = files.read(kPressureFiles[resource], text);
    if (size == -ENOENT || size == -EOPNOTSUPP || size == -ENODEV)
      continue;  // not there, switched off, the cgroup is gone
    if (size < 0) {
      return Error::system("cannot read " + std::string(kPressureFiles[resource]) + " of a cgroup",
                           static_cast<int>(-size));
    }
    parse_pressure({text.data(), static_cast<std::size_t>(size)}, totals.subspan(resource * kPressureKinds.size(), 2));
  }
  return {};
}

}  // namespace sonde
