// SPDX-License-Identifier: Apache-2.0
// The policies of a directory (--policies DIR), followed while it changes. A file that is wrong never takes a policy
// out of force: the last good version of that file stays, and the status says what is wrong. A removed file takes its
// policies along. Not for several threads at once.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/result.h"
#include "agent/config/policy_file.h"

namespace sonde {

inline constexpr std::size_t kMostPolicyFiles = 1000;
// A file younger than this may be half written: half a file can be good YAML and lack a policy.
inline constexpr uint64_t kWritingNs = 200'000'000;

struct PolicyFileStatus {
  std::string path;
  std::size_t policies = 0;           // in force from this file
  std::vector<std::string> problems;  // not empty: the last good version, if any, is in force
  std::vector<std::string> notes;
};

class PolicyDirectory {
 public:
  // Reads it for the first time. Only a directory that cannot be read is an error; what is wrong in files is in
  // status().
  static Result<std::unique_ptr<PolicyDirectory>> open(std::string directory,
                                                       std::span<const ModuleEntry> modules = sonde::modules());

  ~PolicyDirectory();

  // Looks what changed; true if the policies in force are others now. Cheap when nothing changed: one stat() a file.
  // Call it when watch_fd() is readable, and at least once a second: not every file system tells of changes, and a
  // file that is just being written is left alone until the next call (kWritingNs).
  bool refresh();

  const std::vector<Policy>& policies() const { return policies_; }
  std::vector<PolicyFileStatus> status() const;
  // All problems, one sentence each; the directory's own first.
  std::vector<std::string> problems() const;
  // Readable after a change (inotify); -1 where there is no such thing. refresh() makes it unreadable again.
  int watch_fd() const { return watch_ ? watch_.get() : -1; }

 private:
  struct File;
  PolicyDirectory(std::string directory, std::span<const ModuleEntry> modules);
  Result<std::vector<std::string>> list() const;
  void watch();
  bool look_at(const std::string& path, File& file);
  bool rebuild();

  std::string directory_;
  std::span<const ModuleEntry> modules_;
  Fd watch_;
  std::map<std::string, std::unique_ptr<File>> files_;  // by name: the order in which they count
  std::vector<Policy> policies_;
  std::vector<uint64_t> in_force_;  // what policies_ say, as numbers to compare
  bool first_ = true;
  std::string problem_;  // with the directory
};

}  // namespace sonde
