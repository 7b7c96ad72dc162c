// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/image.h"

#include <array>

#include "agent/symbols/registers.h"

namespace sonde {

std::string_view word_of(Refusal refusal) {
  static constexpr std::array<std::string_view, 19> kWords = {
      "None",           "FileNotFound",   "NotAFile", "BadElf",      "WrongArchitecture", "TooLarge", "SymbolNotFound",
      "NotCode",        "Undecodable",    "OldGo",    "Unsupported", "TimedOut",          "TooMany",  "AttachFailed",
      "NoReturnProbes", "NoKernelProbes", "Denied",   "TooHot",      "MissingCapability"};
  const auto index = static_cast<std::size_t>(refusal);
  return index < kWords.size() ? kWords[index] : "Unknown";
}

std::string_view sentence_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::None: return "works";
    case Refusal::FileNotFound: return "no process in the container has loaded this file";
    case Refusal::NotAFile: return "the path is not a regular file";
    case Refusal::BadElf: return "the file is not an ELF program or library, or is broken";
    case Refusal::WrongArchitecture: return "the file is for a different architecture";
    case Refusal::TooLarge: return "its symbol tables exceed the limit (64 MiB, 8 million symbols)";
    case Refusal::SymbolNotFound: return "there is no function of this name";
    case Refusal::NotCode: return "the symbol is not in an executable section";
    case Refusal::Undecodable: return "the function's return instructions cannot be found";
    case Refusal::OldGo: return "the program was built by Go before 1.18";
    case Refusal::Unsupported: return "the requested values cannot be measured for this kind of function";
    case Refusal::TimedOut: return "reading the container's files timed out";
    case Refusal::TooMany: return "more functions are declared than a node can measure";
    case Refusal::AttachFailed: return "the kernel refused to attach";
    case Refusal::NoReturnProbes:
      return "return probes would kill programs under seccomp on this kernel: use measure: [Calls, Bytes]";
    case Refusal::NoKernelProbes: return "this kernel supports neither kprobes nor fentry";
    case Refusal::Denied: return "probing this kernel function is not safe";
    case Refusal::TooHot: return "it was called more than a million times per second and is detached for a while";
    case Refusal::MissingCapability:
      return "the agent may not access the container's processes: grant it the capability SYS_PTRACE (`sonde doctor` "
             "lists what it has)";
  }
  return "unknown";
}

ArgumentPlace argument_register(Machine machine, bool go, int argument) {
  static constexpr std::array<uint16_t, 6> kC = {x86::kRdi, x86::kRsi, x86::kRdx, x86::kRcx, x86::kR8, x86::kR9};
  static constexpr std::array<uint16_t, 6> kGo = {x86::kRax, x86::kRbx, x86::kRcx, x86::kRdi, x86::kRsi, x86::kR8};
  ArgumentPlace place;
  if (argument < 1 || argument > 6) return place;
  const auto index = static_cast<std::size_t>(argument - 1);
  place.kind = ArgumentPlace::Kind::Register;
  place.is_signed = true;
  place.register_offset = static_cast<uint16_t>(machine == Machine::Arm64 ? index * 8 : go ? kGo[index] : kC[index]);
  return place;
}

}  // namespace sonde
