// SPDX-License-Identifier: Apache-2.0
// Measured with reads of a cached page.
#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

const Load kLoad(
    "cache", [] { return read_pages(0); }, 20'000, "pread(2) of a cached page");

}  // namespace
}  // namespace sonde::bench
