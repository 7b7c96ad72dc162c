// SPDX-License-Identifier: Apache-2.0
// Measured with two processes that take turns by a futex.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "agent/base/clock.h"
#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

void futex(std::atomic<uint32_t>* word, int what, uint32_t value) {
  syscall(SYS_futex, word, what, value, nullptr, nullptr, 0);
}

// Waits until it is `turn`, then gives it to the other one.
void take_turn(std::atomic<uint32_t>* word, uint32_t turn) {
  while (*word != turn) futex(word, FUTEX_WAIT, 1 - turn);
  *word = 1 - turn;
  futex(word, FUTEX_WAKE, 1);
}

// Two processes take turns: one wait each.
Run wait_on_futex() {
  void* shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(shared != MAP_FAILED);
  auto* word = new (shared) std::atomic<uint32_t>(0);
  run_alongside([word] { take_turn(word, 1); });
  return [word](uint64_t waits) {
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < waits / 2; ++i) take_turn(word, 0);
    return monotonic_ns() - begin;
  };
}

const Load kLoad("locks", wait_on_futex, 10'000, "wait on a futex");

}  // namespace
}  // namespace sonde::bench
