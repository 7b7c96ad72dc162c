// SPDX-License-Identifier: Apache-2.0
// Pages of the program's and its libraries' files that only the start needed.
#pragma once

namespace sonde {

// Takes all pages of code and constants out of this process's memory; what is still used comes back from the page cache by
// itself, some 16 pages a fault. Loading BPF objects, TLS and gRPC touch 10 MiB that nobody looks at again.
void let_go_of_code_pages();

}  // namespace sonde
