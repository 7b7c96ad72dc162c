// SPDX-License-Identifier: Apache-2.0
// Queries about a program or library and their answers: where in the file a function starts and returns, and where a USDT
// tracepoint is. Plain data that an unprivileged process writes and the agent reads (resolver.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sonde {

// Why a function is not measured; shown as a word in status.
enum class Refusal : uint8_t {
  None,
  FileNotFound,       // no process of the container has such a file
  NotAFile,           // a directory, FIFO or device
  BadElf,             // not an ELF file, or broken
  WrongArchitecture,  // for another architecture, or 32 bits
  TooLarge,           // more symbols or longer tables than the limit
  SymbolNotFound,
  NotCode,            // the symbol is not in an executable section
  Undecodable,        // the function's instructions cannot be decoded, so its returns are not known
  OldGo,              // built by Go before 1.18, which passes arguments differently and records no version
  Unsupported,        // this cannot be measured for this kind of function
  TimedOut,           // resolving timed out
  TooMany,            // limit of functions reached
  AttachFailed,       // the kernel refused
  NoReturnProbes,     // the start-up test found that they kill programs under seccomp
  NoKernelProbes,     // this kernel has neither kprobes nor usable fentry
  Denied,             // on the list of kernel functions that are never probed
  TooHot,             // hit too often; detached
  MissingCapability,  // the agent may not access the container's processes
};
inline constexpr Refusal kLastRefusal = Refusal::MissingCapability;
std::string_view word_of(Refusal refusal);
// A message for status.
std::string_view sentence_of(Refusal refusal);

struct SymbolQuery {
  std::string symbol;  // as in the symbol table; USDT: provider:name
  bool usdt = false;
  uint8_t argument = 0;  // USDT: 1-based number of the requested argument; 0: none
  bool returns = false;  // Go: also the return instructions
};

// Where a probe finds a value; encoded by FUNCTION_COOKIE_* of bpf/modules/function/function.h.
struct ArgumentPlace {
  enum class Kind : uint8_t { None, Register, Memory, Constant };
  Kind kind = Kind::None;
  bool is_signed = false;
  uint8_t bytes = 8;             // width of the value: 1, 2, 4, 8
  uint16_t register_offset = 0;  // in the registers that the kernel saves (struct pt_regs, arm64: user_pt_regs)
  int32_t displacement = 0;      // Memory: added to the register; Constant: the value
};

struct CodePlace {
  uint32_t query = 0;  // index
  bool is_return = false;
  uint64_t offset = 0;     // in the file
  uint64_t semaphore = 0;  // USDT: file offset of the counter to raise while attached; 0: none
  ArgumentPlace argument;
};

struct ImageAnswer {
  Refusal refusal = Refusal::None;  // of the file as a whole
  bool go = false;
  bool stripped = false;  // it has at most dynamic symbols
  std::vector<CodePlace> places;
  std::vector<Refusal> refusals;  // by query
};

// Identity of a file for the kernel's uprobes: its inode, for an overlay file the one in the layer. All 0: not
// known.
struct KernelInode {
  uint64_t address = 0;  // in the kernel: no other inode has it while this one is in use
  uint64_t number = 0;   // i_ino
  uint32_t device = 0;   // s_dev of its super block
};

enum class Machine : uint16_t { X86_64 = 62, Arm64 = 183 };  // e_machine
constexpr Machine this_machine() {
#if defined(__aarch64__)
  return Machine::Arm64;
#else
  return Machine::X86_64;
#endif
}

// Register that holds the n-th (1..6) word of the arguments at a function's entry.
ArgumentPlace argument_register(Machine machine, bool go, int argument);

}  // namespace sonde
