// SPDX-License-Identifier: Apache-2.0
// Measured with minor faults.
#include <sys/mman.h>

#include "agent/base/clock.h"
#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

Run touch_pages() {
  constexpr std::size_t kPages = 256;
  void* memory = mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(memory != MAP_FAILED && madvise(memory, kPages * kPage, MADV_NOHUGEPAGE) == 0);
  return [memory](uint64_t n) {
    auto* bytes = static_cast<volatile char*>(memory);
    uint64_t spent = 0;
    for (uint64_t done = 0; done < n; done += kPages) {
      const uint64_t part = n - done < kPages ? n - done : kPages;
      must(madvise(memory, kPages * kPage, MADV_DONTNEED) == 0);
      const uint64_t begin = monotonic_ns();
      for (std::size_t i = 0; i < part; ++i) bytes[i * kPage] = 1;
      spent += monotonic_ns() - begin;
    }
    return spent;
  };
}

const Load kLoad("memory", touch_pages, 10'000, "first touch of a page");

}  // namespace
}  // namespace sonde::bench
