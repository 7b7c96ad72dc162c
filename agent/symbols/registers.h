// SPDX-License-Identifier: Apache-2.0
// Where registers stand in what the kernel saves of a thread: struct pt_regs of x86 (arch/x86/include/asm/ptrace.h). On
// arm64 x0..x30 are the first 31 words, the stack pointer the next.
#pragma once

#include <cstdint>

namespace sonde::x86 {

enum : uint16_t {
  kR15 = 0,
  kR14 = 8,
  kR13 = 16,
  kR12 = 24,
  kRbp = 32,
  kRbx = 40,
  kR11 = 48,
  kR10 = 56,
  kR9 = 64,
  kR8 = 72,
  kRax = 80,
  kRcx = 88,
  kRdx = 96,
  kRsi = 104,
  kRdi = 112,
  kRip = 128,
  kRsp = 152,
};

}  // namespace sonde::x86
