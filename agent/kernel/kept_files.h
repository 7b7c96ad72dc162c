// SPDX-License-Identifier: Apache-2.0
// Files that modules read at each collection (Source::Read), kept open in between: opening and closing one costs twice as
// much as reading it. A kept file costs the kernel some 5 KiB, so there is a limit; beyond it files are opened each time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/base/fd.h"
#include "agent/module/module.h"

namespace sonde {

inline constexpr std::size_t kMostKeptFiles = 4096;

// Raises the limit of open files as far as it goes, and says how many may be kept: at most half of it.
std::size_t room_for_files();

class KeptFiles {
 public:
  // `most`: how many files of all subjects together.
  explicit KeptFiles(std::size_t most = kMostKeptFiles) : most_(most) {}
  // Where paths of subjects begin.
  void set_root(int directory) { root_ = directory; }

  // One subject's, during one collection.
  class Reader final : public SubjectFiles {
   public:
    // `path` of the cgroup's directory below the root, `id` its inode: a path used again is somebody else's.
    Reader(KeptFiles& all, uint32_t slot, std::string path, uint64_t id)
        : all_(all), slot_(slot), path_(std::move(path)), id_(id) {}
    ssize_t read(std::string_view name, std::span<char> text) override;
    // The directory is not there (any more), which is nobody's fault.
    bool gone() const { return gone_; }

   private:
    Fd open_file(const std::string& name);

    KeptFiles& all_;
    const uint32_t slot_;
    const std::string path_;
    const uint64_t id_;
    Fd directory_;  // opened when a file has to be
    bool gone_ = false;
  };

  // Closes the files of a slot.
  void forget(uint32_t slot);
  std::size_t open() const { return open_; }

 private:
  struct File {
    std::string name;
    Fd fd;
  };
  struct Subject {
    uint64_t id = 0;
    std::vector<File> files;
  };
  std::vector<File>& of(uint32_t slot, uint64_t id);

  const std::size_t most_;
  int root_ = -1;
  std::size_t open_ = 0;
  std::unordered_map<uint32_t, Subject> subjects_;
};

}  // namespace sonde
