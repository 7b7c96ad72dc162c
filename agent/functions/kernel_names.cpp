// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/kernel_names.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "agent/base/text.h"
#include "agent/functions/rules.h"

namespace sonde {
namespace {

constexpr std::size_t kCandidates = 2000;  // names that are compared letter by letter

struct Symbol {
  char type = 0;  // t, T: code
  std::string_view name;
  std::string_view module;  // empty: the kernel itself
  bool is_code() const { return type == 't' || type == 'T'; }
};

// "ffffffff81000000 T _stext" or "ffffffffc0000000 t dm_get\t[dm_mod]". False: not such a line.
bool parse(std::string_view line, Symbol& symbol) {
  const auto type = line.find(' ');
  if (type == std::string_view::npos || type + 3 >= line.size()) return false;
  symbol.type = line[type + 1];
  std::string_view rest = line.substr(type + 3);
  const auto tab = rest.find('\t');
  symbol.name = rest.substr(0, tab);
  symbol.module = {};
  if (tab == std::string_view::npos) return true;
  rest.remove_prefix(tab + 1);
  if (rest.size() > 2 && rest.front() == '[' && rest.back() == ']') symbol.module = rest.substr(1, rest.size() - 2);
  // Code that was made at run time: BPF programs, trampolines.
  return symbol.module != "bpf" && !symbol.module.starts_with("__builtin__");
}

template <typename Visit>
void each_symbol(const std::string& path, const Visit& visit) {
  std::ifstream file(path);
  Symbol symbol;
  for (std::string line; std::getline(file, line);) {
    if (parse(line, symbol)) visit(symbol);
  }
}

uint64_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

std::string full_name(const Symbol& symbol) { return std::string(symbol.module) + ":" + std::string(symbol.name); }

// Might a typing error lie between them? Cheap, and wrong only if both the start and the end are misspelled.
bool resembles(std::string_view a, std::string_view b) {
  const auto longer = std::max(a.size(), b.size()), shorter = std::min(a.size(), b.size());
  if (b.starts_with(a)) return true;
  if (shorter < 3 || longer - shorter > longer / 3) return false;
  return a.substr(0, 3) == b.substr(0, 3) || a.substr(a.size() - 3) == b.substr(b.size() - 3);
}

}  // namespace

KernelNames::KernelNames(std::string symbols, std::string modules, std::string loadings)
    : symbols_(std::move(symbols)), modules_(std::move(modules)), loadings_(std::move(loadings)) {}

std::size_t KernelNames::count(const std::string& symbol) {
  if (hashes_.empty()) {
    if (!fingerprint_) fingerprint_ = fingerprint();
    each_symbol(symbols_, [&](const Symbol& one) {
      if (!one.is_code()) return;
      hashes_.push_back(hash_of(one.name));
      if (!one.module.empty()) hashes_.push_back(hash_of(full_name(one)));
    });
    std::ranges::sort(hashes_);
  }
  if (hashes_.empty()) return 1;
  const auto [first, last] = std::equal_range(hashes_.begin(), hashes_.end(), hash_of(symbol));
  return static_cast<std::size_t>(last - first);
}

uint64_t KernelNames::fingerprint() const {
  uint64_t mix = 1;
  std::ifstream file(modules_);
  for (std::string line; std::getline(file, line);) {
    const std::string name = line.substr(0, line.find(' '));
    struct stat status {};  // each loading has a directory of its own
    if (stat((loadings_ + "/" + name).c_str(), &status) != 0) status.st_ino = 0;
    mix = (mix ^ hash_of(name) ^ status.st_ino) * 0x9e3779b97f4a7c15;
  }
  return mix;
}

bool KernelNames::changed() {
  const uint64_t now = fingerprint();
  const bool differs = fingerprint_ != 0 && now != fingerprint_;
  fingerprint_ = now;
  if (differs) forget();
  return differs;
}

std::string KernelNames::module_of(const std::string& function) const {
  std::string module;
  each_symbol(symbols_, [&](const Symbol& one) {
    if (one.is_code() && one.name == function) module = one.module;
  });
  return module;
}

std::string KernelNames::missing(const std::string& symbol) const {
  const std::string module(sonde::module_of(symbol));
  const std::string function = module.empty() ? symbol : symbol.substr(module.size() + 1);
  std::vector<std::string> candidates, written;  // the latter with their modules, as policies name them
  bool loaded = module.empty(), data = false;
  std::string elsewhere;
  each_symbol(symbols_, [&](const Symbol& one) {
    const bool here = module.empty() || one.module == module;
    loaded = loaded || here;
    if (one.name == function && one.is_code() && !here) elsewhere = one.module.empty() ? function : full_name(one);
    if (here && one.name == function && !one.is_code()) data = true;
    if (!here || !one.is_code() || candidates.size() >= kCandidates || !resembles(function, one.name)) return;
    candidates.emplace_back(one.name);
    written.push_back(one.module.empty() ? std::string(one.name) : full_name(one));
  });
  if (data) return "it is data, not a function";
  if (!elsewhere.empty()) return "write " + elsewhere;
  if (!loaded) return "the kernel module " + module + " is not loaded";
  const auto near = std::ranges::find(candidates, nearest(function, candidates));
  if (near == candidates.end()) return {};
  return "did you mean " + written[static_cast<std::size_t>(near - candidates.begin())] + "?";
}

}  // namespace sonde
