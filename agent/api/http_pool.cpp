// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_pool.h"

// Boost 1.74 uses std::exchange without including it, so <utility> comes first.
// clang-format off
#include <utility>
#include <pplx/threadpool.h>
// clang-format on

#include <exception>
#include <mutex>

namespace sonde {

void limit_http_pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    try {
      crossplat::threadpool::initialize_with_threads(2);
    } catch (const std::exception&) {
      // Somebody used the pool before: it works as well, with more threads.
    }
  });
}

}  // namespace sonde
