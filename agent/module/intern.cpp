// SPDX-License-Identifier: Apache-2.0
#include "agent/module/intern.h"

#include <functional>
#include <set>
#include <string>

#include "agent/base/mutex.h"

namespace sonde {

std::string_view intern(std::string_view text) {
  static Mutex mutex;
  // Never destroyed: views outlive all statics.
  static auto& names SONDE_GUARDED_BY(mutex) = *new std::set<std::string, std::less<>>();
  text = text.substr(0, kMostInternedBytes);
  const MutexLock lock(mutex);
  auto found = names.find(text);
  if (found != names.end()) return *found;
  if (names.size() >= kMostInterned) return "other";
  return *names.emplace(text).first;
}

}  // namespace sonde
