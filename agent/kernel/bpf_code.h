// SPDX-License-Identifier: Apache-2.0
// The code of a BPF object as it was compiled, and which of it can be reached where some of its questions about the kernel have
// known answers: what the verifier finds out, without a kernel. Objects are our own: they are read, not doubted.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sonde {

class BpfCode {
 public:
  explicit BpfCode(std::span<const unsigned char> object);

  struct Section {
    std::string name;
    std::vector<bpf_insn> code;
    std::map<uint32_t, std::pair<std::string, uint32_t>> calls;  // instruction → section and instruction of a function
  };
  struct Place {
    std::string section;
    uint32_t instruction = 0;
    auto operator<=>(const Place&) const = default;
  };
  std::string_view content(std::string_view section) const;  // as bytes; empty: there is none
  std::optional<Place> program(const std::string& name) const;

  // The numbers of instructions that depend on the kernel, in place of those that were compiled in; none: not known.
  using Answers = std::map<Place, std::optional<int64_t>>;
  // All that runs when this begins, called functions included.
  std::set<Place> reachable(const Place& begin, const Answers& answers) const;

 private:
  void reach(const Place& begin, const Answers& answers, std::set<Place>& seen, std::vector<Place>& functions) const;

  std::map<std::string, std::string_view, std::less<>> contents_;
  std::map<std::string, Section> sections_;
  std::map<std::string, Place> programs_;
};

}  // namespace sonde
