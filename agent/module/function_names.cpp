// SPDX-License-Identifier: Apache-2.0
#include "agent/module/function_names.h"

#include <deque>
#include <map>
#include <string>

#include "agent/base/mutex.h"

namespace sonde {
namespace {

struct Names {
  Mutex mutex;
  std::deque<std::string> by_number SONDE_GUARDED_BY(mutex);  // a deque: what it holds stays where it is
  std::map<std::string_view, uint16_t> numbers SONDE_GUARDED_BY(mutex);
};

Names& names() {
  static Names all;
  return all;
}

}  // namespace

std::optional<uint16_t> function_number(std::string_view name) {
  Names& all = names();
  const MutexLock lock(all.mutex);
  if (const auto found = all.numbers.find(name); found != all.numbers.end()) return found->second;
  if (all.by_number.size() >= kMostFunctionNames) return std::nullopt;
  const auto number = static_cast<uint16_t>(all.by_number.size());
  all.numbers.emplace(all.by_number.emplace_back(name), number);
  return number;
}

std::string_view function_name(uint32_t number) {
  Names& all = names();
  const MutexLock lock(all.mutex);
  return number < all.by_number.size() ? std::string_view(all.by_number[number]) : std::string_view();
}

}  // namespace sonde
