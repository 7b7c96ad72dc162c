// SPDX-License-Identifier: Apache-2.0
// Protocol buffers written by hand (protobuf.dev/programming-guides/encoding). Sizes are computed or reserved before
// bytes are written, so that a point costs one check of the buffer.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace sonde::wire {

static_assert(std::endian::native == std::endian::little, "fixed64 is copied unchanged from memory");

enum Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2 };

// All field numbers used are below 16: a tag is one byte.
constexpr uint8_t tag(uint32_t field, Type type) { return static_cast<uint8_t>(field << 3 | type); }

constexpr uint64_t zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

constexpr uint32_t varint_size(uint64_t value) {
  return value < 128 ? 1 : static_cast<uint32_t>((63 - std::countl_zero(value)) / 7) + 1;
}

// A length-delimited field: tag, length, content.
constexpr uint64_t field_size(uint64_t content) { return 1 + varint_size(content) + content; }

inline char* put_varint(char* out, uint64_t value) {
  while (value >= 128) {
    *out++ = static_cast<char>(value | 128);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

inline char* put_fixed64(char* out, uint8_t field_tag, uint64_t value) {
  *out = static_cast<char>(field_tag);
  std::memcpy(out + 1, &value, 8);
  return out + 9;
}

inline char* put_string(char* out, uint8_t field_tag, std::string_view text) {
  *out++ = static_cast<char>(field_tag);
  out = put_varint(out, text.size());
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

// Bytes with room to write behind them.
class Buffer {
 public:
  uint64_t size() const { return used_; }
  std::string_view view() const { return {bytes_.data(), used_}; }
  void truncate(uint64_t size) { used_ = size; }
  void reserve(uint64_t bytes) { bytes_.reserve(bytes); }
  std::string take() {
    bytes_.resize(used_);
    used_ = 0;
    return std::move(bytes_);
  }

  // Room for `length` bytes; written() says up to where it was used.
  char* room(uint64_t length) {
    if (used_ + length > bytes_.size()) grow(length);
    return bytes_.data() + used_;
  }
  void written(const char* end) { used_ = static_cast<uint64_t>(end - bytes_.data()); }

  void string(uint8_t field_tag, std::string_view text) {
    written(put_string(room(text.size() + 11), field_tag, text));
  }
  void byte(uint8_t value) { *room(1) = static_cast<char>(value), used_++; }

  // A message whose length is known only after its content: room for a length of two bytes is left, and the content
  // moved if it turns out to need another number.
  uint64_t open(uint8_t field_tag) {
    char* out = room(1 + kReserved);
    *out = static_cast<char>(field_tag);
    written(out + 1 + kReserved);
    return used_;
  }
  void close(uint64_t start) {
    const uint64_t length = used_ - start;
    const uint32_t need = varint_size(length);
    if (need != kReserved) {
      room(need);
      std::memmove(bytes_.data() + start - kReserved + need, bytes_.data() + start, length);
      used_ = used_ - kReserved + need;
    }
    put_varint(bytes_.data() + start - kReserved, length);
  }

 private:
  static constexpr uint32_t kReserved = 2;

  void grow(uint64_t length) {
    // By a step, not to all that is reserved: resize() touches every byte, this way just before it is written.
    const uint64_t wanted = used_ + length;
    if (wanted > bytes_.capacity()) bytes_.reserve(wanted < 32768 ? 65536 : wanted * 2);
    bytes_.resize(std::min<uint64_t>(bytes_.capacity(), wanted + 32768));
  }

  std::string bytes_;
  uint64_t used_ = 0;
};

}  // namespace sonde::wire
