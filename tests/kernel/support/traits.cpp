// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/traits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "agent/base/text.h"

namespace sonde::test {
namespace {

constexpr std::array<const char*, 5> kWords = {"host-only", "pod-view", "pod-each-kernel", "preemption", "equipment"};

struct Declaration {
  std::string pattern;
  std::vector<Trait> traits;
};
std::vector<Declaration>& declarations() {
  static std::vector<Declaration> all;
  return all;
}

bool matches_any(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) { return glob_match(pattern, name); });
}

// gtest's --gtest_filter: positive patterns, then, after '-', negative ones.
struct Filter {
  std::vector<std::string> positive, negative;
  explicit Filter(std::string_view text) {
    const auto dash = std::min(text.find('-'), text.size());
    positive = split_list(text.substr(0, dash), ':');
    negative = split_list(text.substr(std::min(dash + 1, text.size())), ':');
    if (positive.empty()) positive = {"*"};
  }
  bool operator()(const std::string& name) const { return matches_any(name, positive) && !matches_any(name, negative); }
};

bool has(const std::string& bare, Trait trait) {
  return std::ranges::any_of(declarations(), [&](const Declaration& declared) {
    return std::ranges::find(declared.traits, trait) != declared.traits.end() && glob_match(declared.pattern, bare);
  });
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

DeclaredTraits::DeclaredTraits(std::string pattern, std::initializer_list<Trait> traits) {
  declarations().push_back({std::move(pattern), traits});
}

std::string apply_traits() {
  std::vector<Trait> selected;
  for (const std::string& word : split_list(variable("SONDE_TEST_SELECT"))) {
    const auto found = std::ranges::find(kWords, word);
    if (found == kWords.end())
      return "SONDE_TEST_SELECT: there is no trait '" + word + "' (tests/kernel/support/traits.h)";
    selected.push_back(static_cast<Trait>(found - kWords.begin()));
  }
  const bool as_pod = variable("SONDE_TEST_AS_POD") == "1";
  const Filter asked(GTEST_FLAG_GET(filter));

  std::vector<std::string> bare_names, filter;
  const auto& unit = *testing::UnitTest::GetInstance();
  for (int i = 0; i < unit.total_test_suite_count(); ++i) {
    const auto& suite = *unit.GetTestSuite(i);
    const std::string prefix = std::string(suite.name()) + ".";
    const std::string bare_prefix = prefix.substr(prefix.find('/') + 1);  // npos + 1 = 0
    std::vector<std::string> chosen;
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const std::string test = suite.GetTestInfo(j)->name(), bare = bare_prefix + test;
      bare_names.push_back(bare);
      const bool wanted =
          selected.empty() || std::ranges::any_of(selected, [&](Trait trait) { return has(bare, trait); });
      if (wanted && asked(prefix + test) && !(as_pod && has(bare, Trait::HostOnly))) chosen.push_back(prefix + test);
    }
    if (static_cast<int>(chosen.size()) == suite.total_test_count()) chosen = {prefix + "*"};
    filter.insert(filter.end(), chosen.begin(), chosen.end());
  }
  for (const Declaration& declared : declarations()) {
    if (std::ranges::none_of(bare_names, [&](const std::string& bare) { return glob_match(declared.pattern, bare); })) {
      return "SONDE_TRAITS: no test matches " + declared.pattern;
    }
  }
  if (!selected.empty() || as_pod) GTEST_FLAG_SET(filter, filter.empty() ? "-*" : join(filter, ":"));
  return "";
}

}  // namespace sonde::test
