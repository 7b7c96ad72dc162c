// SPDX-License-Identifier: Apache-2.0
// Bytes of a file of unknown intent, read piece by piece.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <span>

namespace sonde {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // All `size` bytes or false.
  virtual bool read(uint64_t offset, void* out, std::size_t size) const = 0;
};

class FileSource final : public ByteSource {
 public:
  explicit FileSource(int fd) : fd_(fd) {}
  bool read(uint64_t offset, void* out, std::size_t size) const override {
    if (offset > INT64_MAX - size) return false;
    auto* to = static_cast<char*>(out);
    while (size) {
      const ssize_t n = pread(fd_, to, size, static_cast<off_t>(offset));
      if (n <= 0) return false;
      to += n;
      offset += static_cast<uint64_t>(n);
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const unsigned char> bytes) : bytes_(bytes) {}
  bool read(uint64_t offset, void* out, std::size_t size) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset) return false;
    if (size) std::memcpy(out, bytes_.data() + offset, size);
    return true;
  }

 private:
  std::span<const unsigned char> bytes_;
};

}  // namespace sonde
