// SPDX-License-Identifier: Apache-2.0
// The CO-RE relocations of a BPF object against the types of a kernel that need not be this one: does what a program reads exist
// there? By the rules of libbpf (relo_core.c), which decides it only while it loads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

struct btf;

namespace sonde {

struct CoreRelocation {
  uint32_t instruction = 0;  // index in its section
  uint32_t type = 0;         // in the object's types: the root
  uint32_t kind = 0;         // enum bpf_core_relo_kind
  std::string access;        // "0:1:2": members and elements; of enums the value's index
};

// By section of the object; `ext`: its section .BTF.ext.
std::map<std::string, std::vector<CoreRelocation>> core_relocations(const btf* types, std::string_view ext);

// Asks whether something is there; the program gets the answer as a number.
bool is_question(const CoreRelocation& relocation);

class CoreTypes {
 public:
  explicit CoreTypes(const btf* kernel);

  bool has(const btf* object, const CoreRelocation& relocation) const;
  bool has_function(const std::string& name) const;
  bool has_tracepoint(const std::string& name) const;

 private:
  std::vector<uint32_t> candidates(const btf* object, uint32_t type) const;

  const btf* kernel_;
  std::multimap<std::string, uint32_t, std::less<>> by_name_;
};

// "task_struct.signal.pids"
std::string text_of(const btf* object, const CoreRelocation& relocation);

}  // namespace sonde
