// SPDX-License-Identifier: Apache-2.0
// cpprestsdk keeps one thread pool per process and would start 40 threads in it.
#pragma once

namespace sonde {

// Limits the pool to two threads. The first call counts; it must come before any other use of cpprestsdk. HttpServer
// and HttpClient call it themselves.
void limit_http_pool();

}  // namespace sonde
