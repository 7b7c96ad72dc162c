// SPDX-License-Identifier: Apache-2.0
#include "agent/base/text.h"

#include <gtest/gtest.h>

#include <array>

namespace sonde {
namespace {

TEST(Text, TrimAndSplit) {
  EXPECT_EQ(trim(" \t a b\n"), "a b");
  EXPECT_EQ(trim("  "), "");
  EXPECT_EQ(split("a,,b", ',').size(), 3u);
  EXPECT_EQ(split("", ',').size(), 1u);
  EXPECT_EQ(split_list(" a, ,b ,"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(lower("AbC"), "abc");
  EXPECT_TRUE(equal_ignoring_case("GZip", "gzip"));
  EXPECT_FALSE(equal_ignoring_case("gzip", "gzi"));
}

TEST(Text, ForeignWordsFitIntoOneLine) {
  EXPECT_EQ(one_line("plain"), "plain");
  EXPECT_EQ(one_line("a\nb\tc\x7f"), "a b c ");
  EXPECT_EQ(one_line("\xff"
                     "é"),
            "?é");
  EXPECT_EQ(one_line("abcd", 3), "abc…");
  EXPECT_EQ(one_line("ab"
                     "é"
                     "cd",
                     3),
            "ab…");  // not half of the é
  EXPECT_EQ(one_line("ab"
                     "é"
                     "cd",
                     4),
            "abé…");
  EXPECT_EQ(one_line("é", 0), "…");
  EXPECT_EQ(one_line("", 0), "");
}

TEST(Text, Glob) {
  EXPECT_TRUE(glob_match("/kubepods*/cri-*.scope", "/kubepods.slice/a/b/cri-1.scope"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("a?c", "abc"));
  EXPECT_FALSE(glob_match("a?c", "ac"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_FALSE(glob_match("abc", "abcd"));
  EXPECT_TRUE(glob_match("[a]", "[a]"));
}

TEST(Text, GlobWithManyStarsStaysQuick) {
  std::string pattern, text(20'000, 'a');
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "b", text));
}

TEST(Text, ParseInteger) {
  EXPECT_EQ(*parse_integer("42", 0, 100), 42);
  EXPECT_EQ(*parse_integer("-1", -1, 1), -1);
  for (const char* wrong : {"", "4x", "101", "+1", " 1", "1.0", "99999999999999999999"}) {
    EXPECT_FALSE(parse_integer(wrong, 0, 100)) << wrong;
  }
  EXPECT_EQ(parse_integer("101", 0, 100).error().message(), "'101' is not a whole number from 0 to 100");
}

TEST(Text, Nearest) {
  constexpr std::array<std::string_view, 4> names{"network", "io", "sched", "memory"};
  EXPECT_EQ(nearest("netwrok", names), "network");
  EXPECT_EQ(nearest("IO", names), "io");
  EXPECT_EQ(nearest("oi", names), "io");
  EXPECT_EQ(nearest("net", names), "network");
  EXPECT_EQ(nearest("ne", names), "");
  EXPECT_EQ(nearest("ab", names), "");
  EXPECT_EQ(nearest("zebra", names), "");
  EXPECT_EQ(nearest("", names), "");
  EXPECT_EQ(nearest(std::string(1000, 'n'), names), "");
}

TEST(Text, EditDistance) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", "acb"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("Abc", "aBC"), 0u);
}

TEST(Text, Joins) {
  EXPECT_EQ(join(std::vector<std::string>{"a", "b"}), "a, b");
  constexpr std::array<std::string_view, 3> words{"a", "b", "c"};
  EXPECT_EQ(join_or(words), "a, b or c");
  EXPECT_EQ(join_or(std::span(words).first(1)), "a");
  EXPECT_EQ(join_or({}), "");
}

}  // namespace
}  // namespace sonde
