// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/kept_files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sonde {

std::size_t room_for_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit)) return 0;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, 2 * kMostKeptFiles);
  if (limit.rlim_cur < wanted) {
    const rlimit raised{wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.rlim_cur = wanted;
  }
  return std::min<std::size_t>(limit.rlim_cur / 2, kMostKeptFiles);
}

void KeptFiles::forget(uint32_t slot) {
  const auto found = subjects_.find(slot);
  if (found == subjects_.end()) return;
  open_ -= found->second.files.size();
  subjects_.erase(found);
}

std::vector<KeptFiles::File>& KeptFiles::of(uint32_t slot, uint64_t id) {
  const auto found = subjects_.find(slot);
  if (found != subjects_.end() && found->second.id != id) forget(slot);
  Subject& subject = subjects_[slot];
  subject.id = id;
  return subject.files;
}

Fd KeptFiles::Reader::open_file(const std::string& name) {
  if (name.starts_with('/')) return Fd(openat(AT_FDCWD, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!directory_) {
    const char* path = path_.c_str() + (path_.starts_with('/') ? 1 : 0);
    directory_ = Fd(openat(all_.root_, *path ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!directory_ || fstat(directory_.get(), &status) || status.st_ino != id_) {
      gone_ = true;
      errno = ENOENT;
      return {};
    }
  }
  return Fd(openat(directory_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
}

ssize_t KeptFiles::Reader::read(std::string_view name, std::span<char> text) {
  std::vector<File>& files = all_.of(slot_, id_);
  const auto kept = std::ranges::find(files, name, &File::name);
  if (kept != files.end()) {
    const ssize_t size = pread(kept->fd.get(), text.data(), text.size(), 0);
    if (size >= 0) return size;
    // ENODEV: the directory is gone, or the file was taken away and may be there again.
    std::swap(*kept, files.back());
    files.pop_back();
    --all_.open_;
  }
  if (gone_) return -ENOENT;
  Fd file = open_file(std::string(name));
  if (!file) return -errno;
  const ssize_t size = pread(file.get(), text.data(), text.size(), 0);
  if (size < 0) return -errno;
  if (all_.open_ < all_.most_) {
    files.push_back({std::string(name), std::move(file)});
    ++all_.open_;
  }
  return size;
}

}  // namespace sonde
