// SPDX-License-Identifier: Apache-2.0
#include "agent/export/file_exporter.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/base/clock.h"
#include "agent/export/otlp_json.h"
#include "agent/export/otlp_spans.h"

namespace sonde {
namespace {

constexpr const char* kFileName = "metrics.jsonl";
constexpr uint64_t kPatience = 1'000'000'000;  // with a pipe that is full
constexpr uint64_t kFileLogEvery = 60'000'000'000;

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

const char* code_of(int error) {
  if (error == ENOSPC || error == EDQUOT) return "disk_full";
  if (error == EPIPE) return "closed";
  return error == ETIMEDOUT ? "stalled" : "write";
}

}  // namespace

FileExporter::FileExporter(FileOptions options) : options_(std::move(options)), path_(options_.path) {
  if (path_ != "-" && (path_.empty() || path_.back() == '/' || is_directory(path_))) {
    if (path_.empty() || path_.back() != '/') path_ += '/';
    path_ += kFileName;
  }
}

Result<std::unique_ptr<FileExporter>> FileExporter::create(FileOptions options) {
  if (options.path.empty())
    return Error("the file export has no path; set a file, a directory, or - for standard output");
  if (options.path != "/" && options.path.ends_with('/'))
    (void)::mkdir(options.path.c_str(), 0755);  // open() tells why not
  std::unique_ptr<FileExporter> exporter(new FileExporter(std::move(options)));
  {
    const MutexLock lock(exporter->mutex_);
    if (auto opened = exporter->open(); !opened) return opened.error();
  }
  return exporter;
}

Result<void> FileExporter::open() {
  Fd file(path_ == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                       : ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return Error::system(fmt::format("cannot write to {}", path_), errno);
  // Standard output is never truncated or renamed, even if it leads to a file.
  regular_ = S_ISREG(info.st_mode) && path_ != "-";
  size_ = regular_ ? static_cast<uint64_t>(info.st_size) : 0;
  file_ = std::move(file);
  return {};
}

// A log rotation from outside may have taken the file away.
Result<void> FileExporter::reopen_if_moved() {
  if (!file_) return open();
  if (!regular_) return {};
  struct stat named {
  }, opened{};
  if (::stat(path_.c_str(), &named) == 0 && ::fstat(file_.get(), &opened) == 0 && named.st_ino == opened.st_ino &&
      named.st_dev == opened.st_dev) {
    size_ = static_cast<uint64_t>(opened.st_size);  // it may have been emptied, too
    return {};
  }
  return open();
}

void FileExporter::rotate() {
  for (uint32_t number = options_.keep; number > 0; number--) {
    const std::string from = number == 1 ? path_ : fmt::format("{}.{}", path_, number - 1);
    (void)::rename(from.c_str(), fmt::format("{}.{}", path_, number).c_str());
  }
  if (options_.keep == 0) (void)::unlink(path_.c_str());
  file_ = Fd();
}

Result<void> FileExporter::write_regular(const std::string& line) {
  if (options_.max_bytes > 0 && size_ > 0 && size_ + line.size() > options_.max_bytes) {
    rotate();
    if (auto opened = open(); !opened) {
      errno_ = EIO;
      return opened;
    }
  }
  size_t written = 0;
  while (written < line.size()) {
    const ssize_t put = ::write(file_.get(), line.data() + written, line.size() - written);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      errno_ = put < 0 ? errno : EIO;
      if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) file_ = Fd();
      return Error::system(fmt::format("cannot write to {}", path_), errno_);
    }
    written += static_cast<size_t>(put);
  }
  size_ += line.size();
  return {};
}

// Writes `pending_`, in pieces that a pipe that is ready takes without blocking.
Result<void> FileExporter::write_stream(uint64_t timeout_ns) {
  const uint64_t deadline = monotonic_ns() + timeout_ns;
  size_t written = 0;
  int error = 0;
  while (written < pending_.size() && error == 0) {
    const uint64_t now = monotonic_ns();
    pollfd ready{file_.get(), POLLOUT, 0};
    const int wait =
        now >= deadline ? 0 : static_cast<int>(std::min<uint64_t>((deadline - now) / 1'000'000 + 1, 60'000));
    const int polled = ::poll(&ready, 1, wait);
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) {
      error = polled < 0 ? errno : ETIMEDOUT;
    } else {
      const ssize_t put =
          ::write(file_.get(), pending_.data() + written, std::min<size_t>(pending_.size() - written, 4096));
      if (put > 0) {
        written += static_cast<size_t>(put);
      } else if (put < 0 && errno != EINTR && errno != EAGAIN) {
        error = errno;
      }
    }
  }
  pending_.erase(0, written);
  if (error == 0) return {};
  errno_ = error;
  return Error::system(fmt::format("cannot write to {}", destination()), error);
}

Result<void> FileExporter::write_line(const std::string& line) {
  if (regular_) return write_regular(line);
  // The rest of the line before goes first; if it does not fit, this line is not begun.
  if (auto rest = write_stream(kPatience); !rest) return rest;
  pending_ = line;
  auto written = write_stream(kPatience);
  // What has begun is finished later, if the reader comes back.
  if (!written && errno_ == ETIMEDOUT && pending_.size() < line.size()) return {};
  if (!written) pending_.clear();
  return written;
}

void FileExporter::push(BatchPtr batch) {
  const MutexLock lock(mutex_);
  stats_.batches++;
  BatchCursor at;
  if (auto opened = reopen_if_moved(); !opened) {
    return failed("open", opened.error(), batch->points.size());
  }
  uint64_t failures = 0;
  while (true) {
    EncodedRequest request = encode_otlp_json(options_.encode, *batch, at, options_.max_line_bytes);
    if (request.points == 0) break;
    if (failures > 0) {
      stats_.points_dropped += request.points;
      continue;
    }
    request.bytes += '\n';
    if (auto written = write_line(request.bytes); !written) {
      failures++;
      failed(code_of(errno_), written.error(), request.points);
      continue;
    }
    stats_.points_sent += request.points;
    stats_.bytes_sent += request.bytes.size();
  }
  if (failures == 0) works();
  if (failures == 0 && regular_ && options_.sync == FileSync::EachBatch && ::fdatasync(file_.get()) != 0) {
    failed("sync", Error::system(fmt::format("cannot flush {} to disk", path_), errno), 0);
  }
}

FileExporter::SpansWritten FileExporter::write(std::span<const Span* const> spans) {
  std::string line = encode_otlp_spans_json(spans);
  if (line.size() >= options_.max_line_bytes && spans.size() > 1) {
    const SpansWritten first = write(spans.first(spans.size() / 2));
    const SpansWritten second = write(spans.subspan(spans.size() / 2));
    return {first.count + second.count, first.failure.empty() ? second.failure : first.failure};
  }
  line += '\n';
  const MutexLock lock(mutex_);
  if (auto opened = reopen_if_moved(); !opened) {
    failed("open", opened.error(), 0);
    return {0, "open"};
  }
  if (auto written = write_line(line); !written) {
    failed(code_of(errno_), written.error(), 0);
    return {0, code_of(errno_)};
  }
  stats_.bytes_sent += line.size();
  works();
  return {spans.size(), {}};
}

void FileExporter::failed(const char* code, const Error& error, uint64_t points) {
  stats_.failures[code]++;
  stats_.points_dropped += points;
  stats_.last_error = error.message();
  const uint64_t now = monotonic_ns();
  if (failing_since_ns_ != 0 && now - logged_ns_ < kFileLogEvery) return;
  if (failing_since_ns_ == 0) failing_since_ns_ = now;
  logged_ns_ = now;
  spdlog::warn("file export: {}; data is dropped and counted until it works again", stats_.last_error);
}

void FileExporter::works() {
  stats_.last_error.clear();
  if (std::exchange(failing_since_ns_, 0) != 0) spdlog::info("file export to {} works again", destination());
}

void FileExporter::flush(uint64_t timeout_ns) {
  const MutexLock lock(mutex_);
  if (!file_) return;
  if (regular_) {
    (void)::fdatasync(file_.get());
  } else if (!pending_.empty()) {
    (void)write_stream(timeout_ns);
  }
}

ExporterStats FileExporter::stats() const {
  const MutexLock lock(mutex_);
  ExporterStats stats = stats_;
  stats.queued_bytes = pending_.size();
  return stats;
}

}  // namespace sonde
