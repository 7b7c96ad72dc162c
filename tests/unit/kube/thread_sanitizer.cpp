// SPDX-License-Identifier: Apache-2.0
// Only for the build with the thread sanitizer. cpprestsdk takes locks in templates of its headers, which are instrumented, and
// gives them back inside its library, which is not: each thread seems to hold more and more of them, until the detector of lock
// orders, which has room for 64, ends the program. So there is none in this binary; TSAN_OPTIONS still beats it.
extern "C" const char* __tsan_default_options();  // NOLINT: the sanitizer's name

extern "C" const char* __tsan_default_options() { return "detect_deadlocks=0"; }  // NOLINT
