// SPDX-License-Identifier: Apache-2.0
// A self metric that is declared and documented is also reported somewhere.
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

#include "tests/unit/tree/files.h"

namespace sonde::tree {
namespace {

constexpr const char* kDeclared = "agent/pipeline/self_metrics.h";

std::set<std::string> declared() {
  static const std::regex enumerator(R"(^  ([A-Z]\w+),)");
  std::set<std::string> names;
  bool inside = false;
  for (const SourceFile& file : sources()) {
    if (file.path != kDeclared) continue;
    for (const std::string& line : file.lines) {
      std::smatch match;
      if (line.starts_with("enum class SelfMetric")) inside = true;
      if (line == "};") inside = false;
      if (inside && std::regex_search(line, match, enumerator)) names.insert(match[1]);
    }
  }
  names.erase("Count");
  return names;
}

std::set<std::string> mentioned() {
  static const std::regex use(R"(SelfMetric::(\w+))");
  std::set<std::string> names;
  for (const SourceFile& file : sources()) {
    if (!file.under("agent/") || file.kind() != "cpp") continue;
    for (const std::string& line : file.lines) {
      for (std::sregex_iterator match(line.begin(), line.end(), use), end; match != end; ++match)
        names.insert((*match)[1]);
    }
  }
  return names;
}

TEST(SelfMetrics, AreAllReported) {
  const std::set<std::string> metrics = declared();
  EXPECT_GT(metrics.size(), 40u);
  const std::set<std::string> reported = mentioned();
  for (const std::string& metric : metrics) {
    EXPECT_TRUE(reported.contains(metric)) << "SelfMetric::" << metric << " is in the table, but nothing reports it";
  }
}

}  // namespace
}  // namespace sonde::tree
