// SPDX-License-Identifier: Apache-2.0
// The table of values in the chart's README is made of the comments of values.yaml. SONDE_UPDATE_DOCS=1 writes it anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <regex>

#include "tests/unit/tree/files.h"

namespace sonde::tree {
namespace {

constexpr std::string_view kHeading = "| value | default | description |";

struct Value {
  std::string path;
  std::string text;  // of the comment above it
  std::string standard;
  bool described = false;  // itself or by its parent
  bool group = false;
};

std::vector<std::string> lines_of(const std::string& path) {
  const auto found = std::ranges::find(files(), path, &SourceFile::path);
  return found == files().end() ? std::vector<std::string>() : found->lines;
}

// values.yaml as we write it: a key per line, maps and lists in flow style on its line, longer lists as items below it.
class Values {
 public:
  std::vector<Value> read(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) {
      const std::size_t indent = line.find_first_not_of(' ');
      if (indent == std::string::npos) {
        comment_.clear();
      } else if (line[indent] == '#') {
        comment_ += (comment_.empty() ? "" : " ") + line.substr(std::min(indent + 2, line.size()));
      } else if (line.compare(indent, 2, "- ") == 0) {
        add_item(line.substr(indent + 2));
      } else {
        add_key(line, indent);
      }
    }
    return values_;
  }

 private:
  void add_item(const std::string& item) {
    Value& list = values_.back();
    list.group = false;
    list.standard = list.standard.empty() ? "[" + item + "]" : list.standard.insert(list.standard.size() - 1, ", " + item);
  }

  void add_key(const std::string& line, std::size_t indent) {
    const std::size_t colon = line.find(':');
    while (!parents_.empty() && parents_.back().indent >= indent) parents_.pop_back();
    Value value;
    if (!parents_.empty()) value.path = parents_.back().path + ".";
    value.path += line.substr(indent, colon - indent);
    value.text = comment_;
    value.described = !comment_.empty() || (!parents_.empty() && parents_.back().described);
    value.group = colon + 1 >= line.size();
    if (!value.group) value.standard = line.substr(colon + 2);
    parents_.push_back({value.path, indent, !comment_.empty()});
    values_.push_back(std::move(value));
    comment_.clear();
  }

  struct Parent {
    std::string path;
    std::size_t indent;
    bool described;
  };
  std::vector<Parent> parents_;
  std::vector<Value> values_;
  std::string comment_;
};

std::vector<std::string> table() {
  static const std::regex page(R"(docs/ops/[a-z-]+\.md)");
  std::vector<std::string> rows{std::string(kHeading), "|---|---|---|"};
  for (const Value& value : Values().read(lines_of("charts/sonde/values.yaml"))) {
    EXPECT_TRUE(value.group || value.described) << "values.yaml does not say what " << value.path << " is";
    EXPECT_EQ((value.text + value.standard).find('|'), std::string::npos) << value.path;
    if (value.group && value.text.empty()) continue;
    const std::string standard = value.standard == "\"\"" ? "" : value.standard;
    rows.push_back("| `" + value.path + "` | " + (standard.empty() ? "" : "`" + standard + "` ") + "| " +
                   (value.text.empty() ? "" : std::regex_replace(value.text, page, "[$&](../../$&)") + " ") + "|");
  }
  return rows;
}

TEST(ChartValues, TheTableInTheReadmeIsThatOfTheValues) {
  const std::string path = "charts/sonde/README.md";
  std::vector<std::string> lines = lines_of(path);
  const auto begin = std::ranges::find(lines, kHeading);
  ASSERT_NE(begin, lines.end()) << path << " has no table of values";
  const auto end = std::find_if(begin, lines.end(), [](const std::string& line) { return !line.starts_with("|"); });
  const std::vector<std::string> wanted = table();
  ASSERT_GT(wanted.size(), 50U);
  if (!std::getenv("SONDE_UPDATE_DOCS")) {
    EXPECT_EQ(std::vector<std::string>(begin, end), wanted) << "run `make generate`";
    return;
  }
  lines.insert(lines.erase(begin, end), wanted.begin(), wanted.end());
  std::ofstream out(top() / path, std::ios::binary);
  for (const std::string& line : lines) out << line << "\n";
  EXPECT_TRUE(out.flush());
}

}  // namespace
}  // namespace sonde::tree
