// SPDX-License-Identifier: Apache-2.0
// A temporary directory with files, written as literally as possible:
//   FileTree tree{{"a/cgroup.procs", "1\n"}, {"a/b/", ""}};
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>

namespace sonde {

class FileTree {
 public:
  FileTree(std::initializer_list<std::pair<std::string, std::string>> files = {}) {
    std::string name = (std::filesystem::temp_directory_path() / "sonde-test-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    for (const auto& [path, content] : files) add(path, content);
  }
  ~FileTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  FileTree(const FileTree&) = delete;
  FileTree& operator=(const FileTree&) = delete;

  // A path that ends in '/' is a directory.
  void add(const std::string& path, const std::string& content) {
    const std::filesystem::path full = std::filesystem::path(root_) / path;
    std::filesystem::create_directories(full.parent_path());
    if (!path.ends_with('/')) std::ofstream(full) << content;
  }

  const std::string& root() const { return root_; }
  std::string operator/(const std::string& path) const { return root_ + "/" + path; }

 private:
  std::string root_;
};

}  // namespace sonde
