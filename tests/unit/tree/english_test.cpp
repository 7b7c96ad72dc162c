// SPDX-License-Identifier: Apache-2.0
// What people read holds none of the phrases that CONTRIBUTING.md lists under "Language".
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "tests/unit/tree/files.h"

namespace sonde::tree {
namespace {

struct Found {
  std::size_t line = 0;  // from 1
  std::string phrase;
};

// Of comments, tables and literals.
bool is_mark(char c) { return std::string_view("/*#|\"\\").find(c) != std::string_view::npos; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// The words of all lines in lower case, with single spaces between them: a phrase may be broken over lines, by the marks
// of a comment or by the quotes of a string literal.
class Words {
 public:
  explicit Words(const std::vector<std::string>& lines) {
    for (std::size_t i = 0; i < lines.size(); ++i) {
      for (const char c : lines[i] + ' ') add(is_mark(c) ? ' ' : c, i + 1);
    }
  }

  std::vector<Found> find(const std::string& phrase) const {
    std::vector<Found> found;
    for (std::size_t at = 0; (at = text_.find(phrase, at)) != std::string::npos; at += phrase.size()) {
      const std::size_t end = at + phrase.size();
      if ((at > 0 && is_word(text_[at - 1])) || (end < text_.size() && is_word(text_[end]))) continue;
      found.push_back({lines_[at], phrase});
    }
    return found;
  }

 private:
  void add(char c, std::size_t line) {
    if (std::isspace(static_cast<unsigned char>(c))) c = ' ';
    if (c == ' ' && (text_.empty() || text_.back() == ' ')) return;
    text_ += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    lines_.push_back(line);
  }

  std::string text_;
  std::vector<std::size_t> lines_;
};

// Cells of the first column of the table below <!-- banned phrases -->, split at commas.
std::vector<std::string> banned_phrases() {
  const auto page = std::ranges::find(files(), std::string("CONTRIBUTING.md"), &SourceFile::path);
  if (page == files().end()) return {};
  std::vector<std::string> phrases;
  auto line = std::ranges::find(page->lines, std::string("<!-- banned phrases -->"));
  if (line == page->lines.end()) return {};
  for (line += 3; line < page->lines.end() && line->starts_with("| "); ++line) {
    std::string cell = line->substr(2, line->find(" |") - 2) + ",";
    for (std::size_t comma; (comma = cell.find(',')) != std::string::npos; cell.erase(0, comma + 1)) {
      phrases.push_back(cell.substr(cell.find_first_not_of(' '), comma - cell.find_first_not_of(' ')));
    }
  }
  return phrases;
}

// Documents, sources, protobuf, chart, CRDs and manifests. Not the list itself, history and tests.
bool is_checked(const SourceFile& file) {
  if (file.path == "CONTRIBUTING.md" || file.path == "CHANGELOG.md") return false;
  if (file.path.ends_with("_test.cpp")) return false;
  if (file.kind() == "md") return !file.under("tests/");
  if (file.under("agent/") || file.under("bpf/"))
    return file.kind() == "cpp" || file.kind() == "h" || file.kind() == "c";
  return file.under("charts/") || file.under("crds/") || file.under("docs/") || file.under("manifests/") ||
         file.under("proto/");
}

TEST(English, BannedPhrases) {
  const auto phrases = banned_phrases();
  ASSERT_GT(phrases.size(), 20U) << "CONTRIBUTING.md has no list";
  for (const SourceFile& file : files()) {
    if (!is_checked(file)) continue;
    const Words words(file.lines);
    for (const std::string& phrase : phrases) {
      for (const Found& found : words.find(phrase)) {
        ADD_FAILURE() << file.path << ":" << found.line << ": \"" << found.phrase << "\" (see CONTRIBUTING.md)";
      }
    }
  }
}

TEST(English, PhrasesAreFoundAcrossLinesAndLiterals) {
  const Words words({"// From the", "// Begin on, \"once \"", "   \"more\"; thebegin, beginning"});
  ASSERT_EQ(words.find("the begin").size(), 1U);
  EXPECT_EQ(words.find("the begin").front().line, 1U);
  EXPECT_EQ(words.find("once more").size(), 1U);
  EXPECT_TRUE(words.find("begin on, once less").empty());
}

}  // namespace
}  // namespace sonde::tree
