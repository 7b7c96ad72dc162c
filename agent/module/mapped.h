// SPDX-License-Identifier: Apache-2.0
// An array map (BPF_F_MMAPABLE) as memory. Elements stand at multiples of eight bytes
// (kernel/bpf/arraymap.c: array_map_alloc rounds the value size up).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "agent/base/result.h"

struct bpf_object;

namespace sonde {

class Mapped {
 public:
  Mapped() = default;
  static Result<Mapped> map(int map_fd, std::size_t value_size, uint32_t entries);
  // The map of that name in a loaded object; empty if it has none.
  static Result<Mapped> map(bpf_object* object, const std::string& name);
  Mapped(Mapped&& other) noexcept { swap(other); }
  Mapped& operator=(Mapped&& other) noexcept {
    swap(other);
    return *this;
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped();

  explicit operator bool() const { return data_ != nullptr; }
  uint32_t entries() const { return entries_; }
  std::size_t bytes() const { return length_; }
  template <typename T>
  T* at(uint32_t index) const {
    return reinterpret_cast<T*>(static_cast<char*>(data_) + index * stride_);
  }

 private:
  void swap(Mapped& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(length_, other.length_);
    std::swap(stride_, other.stride_);
    std::swap(entries_, other.entries_);
  }
  void* data_ = nullptr;
  std::size_t length_ = 0;
  std::size_t stride_ = 0;
  uint32_t entries_ = 0;
};

}  // namespace sonde
