// SPDX-License-Identifier: Apache-2.0
// The files of the source tree, as text, for the tests that check the tree itself.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sonde::tree {

struct SourceFile {
  std::string path;  // below the top of the tree, with slashes
  std::vector<std::string> lines;

  // A file name's part behind the last dot ("cpp"), or the whole name if there is none ("Makefile").
  std::string kind() const;
  // First folder below agent/ ("kernel"); "main" for agent/main.cpp; empty outside agent/.
  std::string layer() const;
  bool under(std::string_view folder) const { return path.starts_with(folder); }
};

std::filesystem::path top();

// Text files of the tree, sorted; without build directories, generated kernel types and version control.
const std::vector<SourceFile>& files();

// Those written by hand in a programming language: C, C++, BPF C, protobuf, shell, CMake.
std::vector<SourceFile> sources();

// What is included, without quotes; `angled` says whether it stood in angle brackets.
struct Include {
  std::string name;
  bool angled = false;
  std::size_t line = 0;  // from 1
};
std::vector<Include> includes_of(const SourceFile& file);

}  // namespace sonde::tree
