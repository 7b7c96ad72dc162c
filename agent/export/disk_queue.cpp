// SPDX-License-Identifier: Apache-2.0
#include "agent/export/disk_queue.h"

#include <dirent.h>
#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

namespace sonde {
namespace {

struct Head {
  uint32_t magic;
  uint32_t length;
  uint32_t points;
  uint32_t crc;
};
static_assert(sizeof(Head) == 16);

struct CursorFile {
  uint64_t number;
  uint64_t offset;
  uint32_t crc;
  uint32_t unused;
};
static_assert(sizeof(CursorFile) == 24);

constexpr uint32_t kMagic = 0x31515353;         // "SSQ1"
constexpr uint32_t kLongestRecord = 128 << 20;  // a longer one is a damaged length

uint32_t crc_of(uint32_t crc, const void* data, size_t length) {
  return static_cast<uint32_t>(::crc32_z(crc, static_cast<const Bytef*>(data), length));
}

uint32_t record_crc(const Head& head, std::string_view bytes) {
  return crc_of(crc_of(0, &head, offsetof(Head, crc)), bytes.data(), bytes.size());
}

bool read_all(int fd, void* into, size_t length, uint64_t offset) {
  auto* out = static_cast<char*>(into);
  while (length > 0) {
    const ssize_t got = ::pread(fd, out, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    offset += static_cast<uint64_t>(got);
    length -= static_cast<size_t>(got);
  }
  return true;
}

// 0 or an errno.
int write_all(int fd, const void* from, size_t length, uint64_t offset) {
  const auto* in = static_cast<const char*>(from);
  while (length > 0) {
    const ssize_t put = ::pwrite(fd, in, length, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return put < 0 ? errno : EIO;
    in += put;
    offset += static_cast<uint64_t>(put);
    length -= static_cast<size_t>(put);
  }
  return 0;
}

bool read_head(int fd, uint64_t offset, Head& head) {
  return read_all(fd, &head, sizeof(head), offset) && head.magic == kMagic && head.length <= kLongestRecord;
}

std::optional<uint64_t> segment_number(std::string_view name) {
  constexpr std::string_view kPrefix = "segment-", kSuffix = ".q";
  if (name.size() <= kPrefix.size() + kSuffix.size() || name.substr(0, kPrefix.size()) != kPrefix ||
      name.substr(name.size() - kSuffix.size()) != kSuffix) {
    return std::nullopt;
  }
  name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  uint64_t number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number, 16);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<std::unique_ptr<DiskQueue>> DiskQueue::open(const std::string& directory, uint64_t max_bytes, bool* in_use) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return Error::system(fmt::format("cannot create the queue directory {}", directory), errno);
  }
  std::unique_ptr<DiskQueue> queue(new DiskQueue(directory, max_bytes));
  queue->lock_ = Fd(::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!queue->lock_) return Error::system(fmt::format("cannot write to the queue directory {}", directory), errno);
  if (::flock(queue->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (in_use) *in_use = true;
    return Error(fmt::format("the queue directory {} is in use by another agent", directory));
  }
  if (auto loaded = queue->load(); !loaded) return loaded.error();
  return queue;
}

std::string DiskQueue::path(uint64_t number) const { return fmt::format("{}/segment-{:016x}.q", directory_, number); }

Result<void> DiskQueue::load() {
  cursor_ = Fd(::open((directory_ + "/cursor").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!cursor_) return Error::system(fmt::format("cannot write to the queue directory {}", directory_), errno);
  uint64_t read_number = 0, read_offset = 0;
  read_cursor(read_number, read_offset);

  DIR* listing = ::opendir(directory_.c_str());
  if (listing == nullptr) return Error::system(fmt::format("cannot list the queue directory {}", directory_), errno);
  std::vector<uint64_t> numbers;
  while (const dirent* entry = ::readdir(listing)) {
    if (auto number = segment_number(entry->d_name)) numbers.push_back(*number);
  }
  ::closedir(listing);
  std::sort(numbers.begin(), numbers.end());

  for (uint64_t number : numbers) {
    next_number_ = std::max(next_number_, number + 1);
    Segment segment{.number = number};
    if (number == read_number) segment.read = read_offset;
    if (number >= read_number) scan(segment);
    if (segment.records == 0) {
      ::unlink(path(number).c_str());
      continue;
    }
    bytes_ += segment.size - segment.read;
    records_ += segment.records;
    segments_.push_back(segment);
  }
  while (bytes_ > max_bytes_ && !segments_.empty()) drop_oldest();
  return {};
}

// Counts the unread records by their heads; contents are checked when they are read.
void DiskQueue::scan(Segment& segment) {
  Fd file(::open(path(segment.number).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return;
  const auto length = static_cast<uint64_t>(info.st_size);
  segment.size = std::min(segment.read, length);
  segment.read = segment.size;
  Head head{};
  while (segment.size + sizeof(Head) <= length && read_head(file.get(), segment.size, head) &&
         segment.size + sizeof(Head) + head.length <= length) {
    segment.size += sizeof(Head) + head.length;
    segment.records++;
    segment.points += head.points;
  }
  losses_.torn_bytes += length - segment.size;
}

void DiskQueue::read_cursor(uint64_t& number, uint64_t& offset) const {
  CursorFile cursor{};
  if (!read_all(cursor_.get(), &cursor, sizeof(cursor), 0)) return;
  if (cursor.crc != crc_of(0, &cursor, offsetof(CursorFile, crc))) return;  // then all is read again
  number = cursor.number;
  offset = cursor.offset;
}

void DiskQueue::save_cursor() {
  CursorFile cursor{.number = segments_.empty() ? next_number_ : segments_.front().number,
                    .offset = segments_.empty() ? 0 : segments_.front().read,
                    .crc = 0,
                    .unused = 0};
  cursor.crc = crc_of(0, &cursor, offsetof(CursorFile, crc));
  // If this fails, a restart sends some requests twice.
  (void)write_all(cursor_.get(), &cursor, sizeof(cursor), 0);
}

Result<void> DiskQueue::open_segment_to_write() {
  const uint64_t limit = std::max<uint64_t>(max_bytes_ / 8, 4096);
  if (writing_ && segments_.back().size < limit) return {};
  if (writing_) ::fdatasync(writing_.get());
  Fd file(::open(path(next_number_).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return Error::system(fmt::format("cannot write to the queue directory {}", directory_), errno);
  writing_ = std::move(file);
  segments_.push_back({.number = next_number_++});
  return {};
}

Result<void> DiskQueue::push(std::string_view bytes, uint32_t points) {
  if (bytes.size() > kLongestRecord || bytes.size() + sizeof(Head) > max_bytes_) {
    return Error(fmt::format("a request of {} bytes is larger than the disk queue", bytes.size()));
  }
  if (auto opened = open_segment_to_write(); !opened) return opened;
  Head head{.magic = kMagic, .length = static_cast<uint32_t>(bytes.size()), .points = points, .crc = 0};
  head.crc = record_crc(head, bytes);
  Segment& segment = segments_.back();
  int error = write_all(writing_.get(), &head, sizeof(head), segment.size);
  if (error == 0) error = write_all(writing_.get(), bytes.data(), bytes.size(), segment.size + sizeof(head));
  if (error != 0) {
    (void)::ftruncate(writing_.get(), static_cast<off_t>(segment.size));
    return Error::system(fmt::format("cannot write to the queue directory {}", directory_), error);
  }
  segment.size += sizeof(head) + bytes.size();
  segment.records++;
  segment.points += points;
  bytes_ += sizeof(head) + bytes.size();
  records_++;
  while (bytes_ > max_bytes_ && segments_.size() > 1) drop_oldest();
  return {};
}

std::optional<DiskQueue::Record> DiskQueue::front() {
  while (!segments_.empty()) {
    Segment& segment = segments_.front();
    if (segment.records == 0) {
      if (segments_.size() == 1 && writing_) return std::nullopt;
      remove_front();
      continue;
    }
    if (!reading_ || reading_number_ != segment.number) {
      reading_ = Fd(::open(path(segment.number).c_str(), O_RDONLY | O_CLOEXEC));
      reading_number_ = segment.number;
    }
    Head head{};
    if (!reading_ || !read_head(reading_.get(), segment.read, head) ||
        segment.read + sizeof(head) + head.length > segment.size) {
      // Changed behind our back: where the next record begins is not known.
      losses_.torn_bytes += segment.size - segment.read;
      losses_.damaged_points += segment.points;
      bytes_ -= segment.size - segment.read;
      records_ -= segment.records;
      segment.read = segment.size;
      segment.records = segment.points = 0;
      continue;
    }
    Record record{std::string(head.length, '\0'), head.points};
    front_size_ = sizeof(head) + head.length;
    front_points_ = head.points;
    if (read_all(reading_.get(), record.bytes.data(), head.length, segment.read + sizeof(head)) &&
        record_crc(head, record.bytes) == head.crc) {
      return record;
    }
    losses_.damaged_points += std::min<uint64_t>(head.points, segment.points);
    pop();
  }
  return std::nullopt;
}

void DiskQueue::pop() {
  if (segments_.empty() || front_size_ == 0) return;
  Segment& segment = segments_.front();
  segment.read += front_size_;
  segment.records--;
  segment.points -= std::min<uint64_t>(segment.points, front_points_);
  bytes_ -= front_size_;
  records_--;
  front_size_ = 0;
  if (segment.records == 0) {
    remove_front();
  } else {
    save_cursor();
  }
}

// The oldest segment, read or not, and its file.
void DiskQueue::remove_front() {
  const Segment segment = segments_.front();
  if (segments_.size() == 1) writing_ = Fd();
  segments_.pop_front();
  save_cursor();
  ::unlink(path(segment.number).c_str());
}

void DiskQueue::drop_oldest() {
  const Segment& segment = segments_.front();
  losses_.dropped_points += segment.points;
  bytes_ -= segment.size - segment.read;
  records_ -= segment.records;
  front_size_ = 0;
  remove_front();
}

}  // namespace sonde
