// SPDX-License-Identifier: Apache-2.0
// What holds unless the program itself is wrong, whatever comes from outside. Checked in Debug and sanitizer builds, where a
// failure prints the place and aborts; elsewhere the condition is not even evaluated. What can happen in operation has a
// Result or a counter instead.
#pragma once

#ifdef SONDE_CHECKED
#define SONDE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::sonde::check_failed(#condition, __FILE__, __LINE__))
#else
#define SONDE_CHECK(condition) static_cast<void>(sizeof((condition) ? 1 : 0))
#endif

namespace sonde {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace sonde
