// SPDX-License-Identifier: Apache-2.0
// What a reader can rely on in every file: a license line, a size one can read, no trace of somebody's machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "tests/unit/tree/files.h"

namespace fs = std::filesystem;

namespace sonde::tree {
namespace {

constexpr std::size_t kMaxLines = 500;
constexpr std::size_t kMaxColumns = 130;  // we write 120; a few more are not worth an ugly break

// What runs in the kernel or is shared with it has the kernel's choice of licenses.
bool is_kernel_side(const SourceFile& file) {
  if (file.path.ends_with(".bpf.c") || file.under("bpf/include/") || file.under("bpf/core/")) return true;
  if (file.under("tests/vm/held_locks/")) return true;
  return file.under("bpf/modules/") && file.kind() == "h";
}

TEST(Style, EverySourceNamesItsLicense) {
  for (const SourceFile& file : sources()) {
    const std::string_view wanted = is_kernel_side(file) ? "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"
                                                         : "SPDX-License-Identifier: Apache-2.0";
    ASSERT_FALSE(file.lines.empty()) << file.path << " is empty";
    const std::size_t line = file.lines.front().starts_with("#!") ? 1 : 0;
    ASSERT_LT(line, file.lines.size()) << file.path;
    EXPECT_NE(file.lines[line].find(wanted), std::string::npos)
        << file.path << ": line " << line + 1 << " should hold \"" << wanted << "\"";
  }
}

TEST(Style, FilesAreShort) {
  for (const SourceFile& file : sources()) {
    EXPECT_LE(file.lines.size(), kMaxLines) << file.path << ": split it";
  }
}

TEST(Style, LinesAreShort) {
  for (const SourceFile& file : sources()) {
    if (file.kind() != "cpp" && file.kind() != "h" && file.kind() != "c") continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      // Characters, not bytes; a tab counts as one. Long literals may not be broken sensibly.
      const auto columns = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
      if (line.find("R\"") != std::string::npos || line.find("http") != std::string::npos) continue;
      EXPECT_LE(static_cast<std::size_t>(columns), kMaxColumns) << file.path << ":" << i + 1;
    }
  }
}

TEST(Style, NoPathsOfOneMachine) {
  static const std::regex pattern(R"((^|[^A-Za-z0-9_.$}/*-])/(work|home|root)/[A-Za-z0-9_.])");
  for (const SourceFile& file : files()) {
    if (file.under("tests/unit/tree/")) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      if (file.lines[i].size() > 10000) continue;  // data on one line
      EXPECT_FALSE(std::regex_search(file.lines[i], pattern)) << file.path << ":" << i + 1 << ": " << file.lines[i];
    }
  }
}

TEST(Style, HeadersAreIncludedOnce) {
  for (const SourceFile& file : sources()) {
    if (file.kind() != "h") continue;
    const bool guarded = std::any_of(file.lines.begin(), file.lines.end(), [](const std::string& line) {
      return line == "#pragma once" || line.starts_with("#ifndef SONDE_");
    });
    EXPECT_TRUE(guarded) << file.path << ": has no #pragma once";
  }
}

// Clang cannot check what a mutex of the standard library guards.
TEST(Style, MutexesAreAnnotated) {
  static const std::regex pattern(
      R"(std::(recursive_|timed_|shared_)*(mutex|condition_variable|lock_guard|unique_lock)\b)");
  for (const SourceFile& file : sources()) {
    if (!file.under("agent/") || file.path == "agent/base/mutex.h") continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(file.lines[i], pattern))
          << file.path << ":" << i + 1 << ": use Mutex, MutexLock and Condition of agent/base/mutex.h";
    }
  }
}

TEST(Style, LinksInDocumentsLead) {
  static const std::regex pattern(R"(\]\(([^)#\s]+)(#[^)\s]*)?\))");
  for (const SourceFile& file : files()) {
    if (file.kind() != "md") continue;
    for (const std::string& line : file.lines) {
      for (std::sregex_iterator match(line.begin(), line.end(), pattern), end; match != end; ++match) {
        const std::string target = (*match)[1];
        if (target.find("://") != std::string::npos || target.starts_with("mailto:")) continue;
        EXPECT_TRUE(fs::exists((top() / file.path).parent_path() / target)) << file.path << " links to " << target;
      }
    }
  }
}

}  // namespace
}  // namespace sonde::tree
