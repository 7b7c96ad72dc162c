// SPDX-License-Identifier: Apache-2.0
// The rows about capabilities in the documents and the chart are what the probes' tables say they need.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "agent/base/text.h"
#include "agent/module/module.h"

namespace sonde {
namespace {

// "CAP_BPF, CAP_PERFMON, and CAP_SYSLOG for names" → BPF, PERFMON, SYSLOG
std::set<std::string> needed(const ModuleInfo& info) {
  static const std::regex word("CAP_([A-Z_]+)");
  const std::string text(info.needs);
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), word), end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

std::set<std::string> quoted(const std::string& text) {
  static const std::regex word("`([^`]+)`");
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), word), end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

// Rows of the table in `file` whose first line starts with `heading`; without it and the line below.
std::vector<std::vector<std::string>> table(const std::string& file, const std::string& heading) {
  std::ifstream in(std::string(SONDE_SOURCE_DIR) + "/" + file);
  std::vector<std::vector<std::string>> rows;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(heading)) inside = true;
    if (!inside) continue;
    if (!line.starts_with("|")) break;
    std::vector<std::string> cells;
    for (const std::string_view cell : split(std::string_view(line).substr(1), '|')) cells.emplace_back(trim(cell));
    rows.push_back(cells);
  }
  if (rows.size() > 2) rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

TEST(Capabilities, TheTableOfTheSecurityPageIsThatOfTheProbes) {
  const auto rows = table("docs/ops/security.md", "| capability | probe |");
  ASSERT_GT(rows.size(), 5U);
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    EXPECT_TRUE(needed(info).contains("BPF")) << info.name;
    for (const std::string& capability : needed(info)) {
      const bool listed = std::ranges::any_of(rows, [&](const auto& row) {
        return row[0] == capability && (row[1] == "all" || quoted(row[1]).contains(std::string(info.name)));
      });
      EXPECT_TRUE(listed) << "docs/ops/security.md has no row for " << capability << " and " << info.name;
    }
  }
  for (const auto& row : rows) {
    if (row[2].starts_with("not tested")) continue;
    for (const std::string& probe : quoted(row[1])) {
      const int index = find_module(probe);
      ASSERT_GE(index, 0) << "docs/ops/security.md: there is no probe " << probe;
      EXPECT_TRUE(needed(modules()[static_cast<std::size_t>(index)].module->info()).contains(row[0]))
          << "docs/ops/security.md: ModuleInfo::needs of " << probe << " does not name CAP_" << row[0];
    }
  }
}

// The default adds what a probe needs beyond BPF and PERFMON; the chart's README says for which.
TEST(Capabilities, TheChartNamesTheProbesThatNeedWhatItAdds) {
  const auto rows = table("charts/sonde/README.md", "| value |");
  bool found = false;
  for (const auto& row : rows) {
    if (row[0] != "`agent.capabilities`") continue;
    found = true;
    static const std::regex word("[A-Z_]+");
    std::set<std::string> named;
    for (const std::string& text : quoted(row[2])) {
      if (find_module(text) >= 0) named.insert(text);
    }
    for (std::sregex_iterator match(row[1].begin(), row[1].end(), word), end; match != end; ++match) {
      for (const ModuleEntry& entry : modules()) {
        const ModuleInfo& info = entry.module->info();
        EXPECT_EQ(named.contains(std::string(info.name)), needed(info).contains(match->str()))
            << match->str() << " and " << info.name;
      }
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace sonde
