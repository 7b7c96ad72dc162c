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
    case Refusal::FileNotFound: return "no process of the container has this file open as its program or a library";
    case Refusal::NotAFile: return "the path does not lead to a regular file";
    case Refusal::BadElf: return "the file is not an ELF program or library, or is broken";
    case Refusal::WrongArchitecture: return "the file is for another machine than this one";
    case Refusal::TooLarge: return "its symbol tables are larger than what is looked at (64 MiB, 8 million symbols)";
    case Refusal::SymbolNotFound: return "there is no function of this name";
    case Refusal::NotCode: return "the symbol is not in an executable part of the file";
    case Refusal::Undecodable: return "the function's return instructions cannot be found";
    case Refusal::OldGo: return "the program was built by Go before 1.18";
    case Refusal::Unsupported: return "what is asked cannot be measured for this kind of function";
    case Refusal::TimedOut: return "looking into the container's files took too long and was given up";
    case Refusal::TooMany: return "more functions are declared than one node measures";
    case Refusal::AttachFailed: return "the kernel refused to attach";
    case Refusal::NoReturnProbes:
      return "return probes would end programs under seccomp on this kernel: use measure: [Calls, Bytes]";
    case Refusal::NoKernelProbes: return "this kernel takes neither kprobes nor fentry";
    case Refusal::Denied: return "probing this kernel function is not safe";
    case Refusal::TooHot: return "it was called more than a million times a second and is left alone for a while";
    case Refusal::MissingCapability:
      return "the agent may not look into the container's processes: give it the capability SYS_PTRACE (`sonde doctor` "
             "says what it has)";
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
