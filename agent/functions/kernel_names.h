// SPDX-License-Identifier: Apache-2.0
// Names of the kernel's functions and which of its modules are loaded: why a function is not there, and when to look again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sonde {

class KernelNames {
 public:
  // Files for tests.
  explicit KernelNames(std::string symbols = "/proc/kallsyms", std::string modules = "/proc/modules",
                       std::string loadings = "/sys/module");

  // How many functions have this name; "module:function": in that module. Read once, 8 bytes for each of the kernel's functions,
  // until changed() or forget(). All have one if the kernel does not show its names.
  std::size_t count(const std::string& symbol);
  // Were modules loaded or unloaded since the last call, or since names were read the first time?
  bool changed();
  // Another number for other modules. What was looked up with this one need not be looked up again.
  uint64_t version() const { return fingerprint_; }
  void forget() { hashes_ = {}; }

  // The module in which the function is; empty: in none.
  std::string module_of(const std::string& function) const;
  // Why it is not there, for status: the module is not loaded, it is data, or was another name meant?
  std::string missing(const std::string& symbol) const;

 private:
  uint64_t fingerprint() const;

  std::string symbols_, modules_, loadings_;
  std::vector<uint64_t> hashes_;  // sorted
  uint64_t fingerprint_ = 0;
};

}  // namespace sonde
