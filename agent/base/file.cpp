// SPDX-License-Identifier: Apache-2.0
#include "agent/base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <spdlog/fmt/fmt.h>

#include "agent/base/fd.h"

namespace sonde {

namespace {

Result<void> write_all(const Fd& fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    ssize_t written = ::write(fd.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error::system("cannot write " + path, errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return Error::system("cannot sync " + path, errno);
  return {};
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return Error::system("cannot open " + path, errno);
  std::string content;
  constexpr std::size_t kStep = 16384;
  while (true) {
    std::size_t have = content.size();
    content.resize(have + kStep);
    ssize_t got = ::read(fd.get(), content.data() + have, kStep);
    content.resize(have + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::system("cannot read " + path, errno);
    if (content.size() > limit) return Error(fmt::format("{} is larger than {} bytes", path, limit));
    if (got == 0) return content;
  }
}

Result<void> write_file_atomically(const std::string& path, std::string_view content, mode_t mode) {
  // The process id keeps two agents apart; within one, a file has one writer.
  std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return Error::system("cannot create " + temporary, errno);
  if (auto written = write_all(fd, temporary, content); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int failed = errno;
    ::unlink(temporary.c_str());
    return Error::system("cannot rename " + temporary + " to " + path, failed);
  }
  return {};
}

Result<void> sync_directory(const std::string& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return Error::system("cannot sync " + directory, errno);
  return {};
}

}  // namespace sonde
