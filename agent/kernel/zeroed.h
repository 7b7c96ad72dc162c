// SPDX-License-Identifier: Apache-2.0
// Large arrays of which little is used: pages that nobody touches take no memory.
#pragma once

#include <cstdlib>
#include <memory>

namespace sonde {

struct FreeZeroed {
  void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using Zeroed = std::unique_ptr<T[], FreeZeroed>;

template <typename T>
Zeroed<T> zeroed(std::size_t n) {
  return Zeroed<T>(static_cast<T*>(std::calloc(n, sizeof(T))));
}

}  // namespace sonde
