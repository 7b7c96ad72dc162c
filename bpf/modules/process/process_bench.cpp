// SPDX-License-Identifier: Apache-2.0
// Measured with processes that end at once.
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

Run fork_processes() {
  return timed([] {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    must(child > 0 && waitpid(child, nullptr, 0) == child);
  });
}

const Load kLoad("process", fork_processes, 200, "process that ends at once");

}  // namespace
}  // namespace sonde::bench
