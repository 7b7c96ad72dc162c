// SPDX-License-Identifier: Apache-2.0
// Measured with reads past the page cache.
#include <fcntl.h>

#include "tests/bench/loads.h"

namespace sonde::bench {
namespace {

const Load kLoad(
    "block", [] { return read_pages(O_DIRECT); }, 500, "pread(2) of 4 KiB past the cache");

}  // namespace
}  // namespace sonde::bench
