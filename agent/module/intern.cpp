// SPDX-License-Identifier: Apache-2.0
#include "agent/module/intern.h"

#include <functional>
#include <mutex>
#include <set>
#include <string>

namespace sonde {

std::string_view intern(std::string_view text) {
  static std::mutex mutex;
  static auto& names = *new std::set<std::string, std::less<>>();  // never destroyed: views outlive all statics
  text = text.substr(0, kMostInternedBytes);
  const std::lock_guard lock(mutex);
  auto found = names.find(text);
  if (found != names.end()) return *found;
  if (names.size() >= kMostInterned) return "other";
  return *names.emplace(text).first;
}

}  // namespace sonde
