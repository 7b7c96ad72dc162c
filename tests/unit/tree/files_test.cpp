// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/tree/files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>

namespace fs = std::filesystem;

namespace sonde::tree {
namespace {

bool is_ours(const fs::path& relative) {
  const std::string first = relative.begin()->string();
  return first != ".git" && first != ".cache" && !first.starts_with("build") && first != "LICENSES" &&
         first != "LICENSE";
}

// Test inputs may be anything: bytes for a parser, another program's output.
bool is_input(std::string_view path) {
  return path.find("/corpus/") != std::string_view::npos || path.find("/golden/") != std::string_view::npos ||
         path.find("/fixtures/") != std::string_view::npos;
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<SourceFile> read_tree() {
  std::vector<SourceFile> found;
  for (auto entry = fs::recursive_directory_iterator(top()); entry != fs::recursive_directory_iterator(); ++entry) {
    const fs::path relative = fs::relative(entry->path(), top());
    if (!is_ours(relative) || relative.filename() == "__pycache__" || relative.filename() == "node_modules") {
      entry.disable_recursion_pending();
      continue;
    }
    if (!entry->is_regular_file() || entry->is_symlink() || relative.filename() == "vmlinux.h") continue;
    if (is_input(relative.generic_string())) continue;
    found.push_back({relative.generic_string(), read_lines(entry->path())});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return found;
}

}  // namespace

fs::path top() { return SONDE_SOURCE_DIR; }

std::string SourceFile::kind() const {
  const std::string name = fs::path(path).filename().string();
  const std::size_t dot = name.rfind('.');
  if (dot != std::string::npos && dot > 0) return name.substr(dot + 1);
  return !lines.empty() && lines.front().starts_with("#!") ? "sh" : name;
}

std::string SourceFile::layer() const {
  if (path == "agent/main.cpp") return "main";
  if (!under("agent/")) return "";
  const std::string rest = path.substr(6);
  return rest.substr(0, rest.find('/'));
}

const std::vector<SourceFile>& files() {
  static const std::vector<SourceFile> all = read_tree();
  return all;
}

std::vector<SourceFile> sources() {
  static const std::vector<std::string> kinds = {"cpp", "h", "c", "proto", "sh", "cmake", "in", "Makefile", "go", "py"};
  std::vector<SourceFile> chosen;
  for (const SourceFile& file : files()) {
    const bool is_cmake = fs::path(file.path).filename() == "CMakeLists.txt";
    if (is_cmake || std::find(kinds.begin(), kinds.end(), file.kind()) != kinds.end()) chosen.push_back(file);
  }
  return chosen;
}

std::vector<Include> includes_of(const SourceFile& file) {
  static const std::regex pattern(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> found;
  for (std::size_t i = 0; i < file.lines.size(); ++i) {
    std::smatch match;
    if (std::regex_search(file.lines[i], match, pattern)) found.push_back({match[2], match[1] == "<", i + 1});
  }
  return found;
}

TEST(Tree, IsReadable) {
  EXPECT_GT(files().size(), 30u);
  const auto has = [](std::string_view path) {
    return std::any_of(files().begin(), files().end(), [&](const SourceFile& file) { return file.path == path; });
  };
  EXPECT_TRUE(has("agent/base/result.h"));
  EXPECT_TRUE(has("Makefile"));
  EXPECT_TRUE(has("bpf/core/core.bpf.c"));
  EXPECT_FALSE(has("bpf/vmlinux/x86/vmlinux.h"));
}

TEST(Tree, KnowsKindsAndLayers) {
  EXPECT_EQ((SourceFile{"agent/base/result.h", {}}.kind()), "h");
  EXPECT_EQ((SourceFile{"Makefile", {}}.kind()), "Makefile");
  EXPECT_EQ((SourceFile{"tests/run", {"#!/usr/bin/env bash"}}.kind()), "sh");
  EXPECT_EQ((SourceFile{"agent/kernel/engine.cpp", {}}.layer()), "kernel");
  EXPECT_EQ((SourceFile{"agent/main.cpp", {}}.layer()), "main");
  EXPECT_EQ((SourceFile{"bpf/core/core.bpf.c", {}}.layer()), "");
  const SourceFile file{"a.cpp", {"#include <vector>", "", "#include \"agent/base/fd.h\"  // why"}};
  const std::vector<Include> includes = includes_of(file);
  ASSERT_EQ(includes.size(), 2u);
  EXPECT_TRUE(includes[0].angled);
  EXPECT_EQ(includes[1].name, "agent/base/fd.h");
  EXPECT_EQ(includes[1].line, 3u);
}

}  // namespace sonde::tree
