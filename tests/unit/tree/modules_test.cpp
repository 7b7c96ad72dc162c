// SPDX-License-Identifier: Apache-2.0
// A probe is one folder of bpf/modules: what is in it, what its headers are called, and that no script names it.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>

#include "tests/unit/tree/files.h"

namespace sonde::tree {
namespace {

namespace fs = std::filesystem;

TEST(ModuleFolders, AreComplete) {
  const fs::path modules = top() / "bpf/modules";
  if (!fs::exists(modules)) GTEST_SKIP() << "there are no modules";
  for (const auto& entry : fs::directory_iterator(modules)) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    for (const std::string& file : {name + ".bpf.c", name + ".h", name + ".cpp", name + "_test.cpp",
                                    name + "_kernel_test.cpp", std::string("README.md")}) {
      EXPECT_TRUE(fs::exists(entry.path() / file)) << "bpf/modules/" << name << "/" << file << " is missing";
    }
  }
}

bool any_line(const SourceFile& file, const std::regex& pattern) {
  return std::ranges::any_of(file.lines, [&](const std::string& line) { return std::regex_search(line, pattern); });
}

// .bpf.h: kernel side only. _tables.h: C++. Any other .h: plain C that both sides include.
TEST(ModuleFolders, SuffixesOfHeadersSayWhatTheyAre) {
  static const std::regex cxx(
      R"(^#pragma once|^namespace |\bstd::|\bconstexpr\b|^#include <[a-z_]+>|^#include "agent/)");
  static const std::regex kernel_side(
      R"(^#include [<"](sonde/(?!abi\.h|histogram\.h|syscalls\.h)|.*\.bpf\.h|vmlinux\.h)|\bSEC\(|\bbpf_[a-z_]+\()");
  for (const SourceFile& file : sources()) {
    if (!file.under("bpf/modules/") || file.kind() != "h") continue;
    const bool is_tables = file.path.ends_with("_tables.h"), is_bpf = file.path.ends_with(".bpf.h");
    EXPECT_EQ(any_line(file, cxx), is_tables) << file.path << ": C++ is in *_tables.h, and nothing else is";
    if (!is_bpf) {
      EXPECT_FALSE(!is_tables && any_line(file, kernel_side))
          << file.path << ": only the kernel side can include it; call it *.bpf.h";
    }
  }
}

// A test declares itself where it runs (tests/kernel/support/traits.h).
TEST(ModuleFolders, NoScriptNamesATestOfTheKernel) {
  static const std::regex test(R"(^TEST(?:_F|_P)?\((\w+?)(?:Test)?,)");
  std::set<std::string> suites;
  for (const SourceFile& file : sources()) {
    if (!file.under("tests/kernel/") && !file.path.ends_with("_kernel_test.cpp")) continue;
    for (const std::string& line : file.lines) {
      if (std::smatch match; std::regex_search(line, match, test)) suites.insert(match[1]);
    }
  }
  EXPECT_GT(suites.size(), 40U);
  const auto is_script = [](const SourceFile& file) {
    return file.under(".ci/") || file.under("cmake/") || file.path == "Makefile" ||
           file.path == "tests/CMakeLists.txt" || file.path == "tests/vm/run" || file.path == "tests/run" ||
           file.path == "tests/bench/run" || file.path == "tests/soak";
  };
  std::size_t scripts = 0;
  for (const SourceFile& file : files()) {
    if (!is_script(file)) continue;
    ++scripts;
    for (const std::string& line : file.lines) {
      for (const std::string& suite : suites) {
        EXPECT_FALSE(line.find(suite) != std::string::npos &&
                     std::regex_search(line, std::regex("\\b" + suite + "(Test)?\\b")))
            << file.path << ": " << line;
      }
    }
  }
  EXPECT_GT(scripts, 8U);
}

}  // namespace
}  // namespace sonde::tree
