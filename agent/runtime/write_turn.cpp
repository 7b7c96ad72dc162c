// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/write_turn.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr std::size_t kDigits = 20;  // of a time, padded: always the same bytes of the file

uint64_t last_beat(int fd) {
  char text[kDigits];
  if (pread(fd, text, kDigits, 0) != static_cast<ssize_t>(kDigits)) return 0;
  const auto ns = parse_integer(trim(std::string_view(text, kDigits)), 0, INT64_MAX);
  return ns ? static_cast<uint64_t>(*ns) : 0;
}

Fd open_file(const std::string& path, int more = 0) {
  return Fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | more, 0600));
}

}  // namespace

WriteTurn::WriteTurn(std::string path) : path_(std::move(path)) {}

bool WriteTurn::follow(uint64_t now_ns) {
  if (path_.empty()) return false;
  if (!held_) return take(now_ns);
  if (!error_.empty() || now_ns < beat_ns_ + kBeat) return false;
  if (!is_current(file_)) {
    release();
    return take(now_ns);
  }
  beat(now_ns);
  return false;
}

bool WriteTurn::take(uint64_t now_ns) {
  Fd file = open_file(path_);
  if (file.get() < 0) return fail("open");
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail("lock");
    const uint64_t heard_ns = last_beat(file.get());
    return now_ns > heard_ns + kSilence && take_over(now_ns);
  }
  // Taken over by another between open() and flock(): the next turn finds the new file.
  if (!is_current(file)) return false;
  file_ = std::move(file);
  beat(now_ns);
  return held_ = true;
}

// The holder keeps its lock on a file that nobody finds any more, and notices that at its next beat.
bool WriteTurn::take_over(uint64_t now_ns) {
  const std::string own = fmt::format("{}.{}", path_, getpid());
  unlink(own.c_str());
  Fd file = open_file(own, O_EXCL);
  if (file.get() < 0 || flock(file.get(), LOCK_EX | LOCK_NB) != 0) return fail("lock");
  file_ = std::move(file);
  beat(now_ns);
  if (rename(own.c_str(), path_.c_str()) != 0) return fail("rename");
  if (!is_current(file_)) {
    file_ = Fd();
    return false;
  }
  return held_ = true;
}

bool WriteTurn::fail(const char* doing) {
  error_ = fmt::format("cannot {} {}: {}; two agents on this machine could export at the same time", doing, path_,
                       strerror(errno));
  return held_ = true;
}

bool WriteTurn::is_current(const Fd& fd) const {
  struct stat mine {
  }, named{};
  return fstat(fd.get(), &mine) == 0 && stat(path_.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
         mine.st_dev == named.st_dev;
}

void WriteTurn::beat(uint64_t now_ns) {
  beat_ns_ = now_ns;
  const std::string text = fmt::format("{:<{}}", now_ns, kDigits);
  (void)!pwrite(file_.get(), text.data(), text.size(), 0);
}

void WriteTurn::release() {
  file_ = Fd();
  held_ = false;
}

}  // namespace sonde
