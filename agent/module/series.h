// SPDX-License-Identifier: Apache-2.0
// Tables of series that are built by loops, without counting how many there will be:
//
//   constexpr SeriesList make_series() {
//     SeriesList all;
//     for (uint16_t i = 0; i < FORKS_COUNTERS; ++i) all.add({kStarted, Source::Counter, i, {kTypes[i]}});
//     return all;
//   }
//   constexpr auto kSeries = series_of<make_series>();  // a std::array of just as many
#pragma once

#include <array>
#include <cstddef>

#include "agent/module/metric.h"

namespace sonde {

struct SeriesList {
  std::array<SeriesSpec, 256> place{};  // more than this does not compile
  std::size_t size = 0;

  constexpr void add(const SeriesSpec& one) { place[size++] = one; }
};

template <SeriesList (*make)()>
constexpr auto series_of() {
  constexpr SeriesList list = make();
  std::array<SeriesSpec, list.size> all{};
  for (std::size_t i = 0; i < list.size; ++i) all[i] = list.place[i];
  return all;
}

}  // namespace sonde
