// SPDX-License-Identifier: Apache-2.0
#include "agent/module/mapped.h"

#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace sonde {

Result<Mapped> Mapped::map(int map_fd, std::size_t value_size, uint32_t entries) {
  Mapped mapped;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  mapped.stride_ = (value_size + 7) / 8 * 8;
  mapped.entries_ = entries;
  mapped.length_ = (mapped.stride_ * entries + page - 1) / page * page;
  void* data = mmap(nullptr, mapped.length_, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (data == MAP_FAILED) return Error::system("cannot map a BPF array into memory", errno);
  mapped.data_ = data;
  return mapped;
}

Result<Mapped> Mapped::map(bpf_object* object, const std::string& name) {
  const bpf_map* found = bpf_object__find_map_by_name(object, name.c_str());
  if (!found) return Mapped();
  auto mapped = map(bpf_map__fd(found), bpf_map__value_size(found), bpf_map__max_entries(found));
  if (!mapped) return mapped.error().with(name);
  return mapped;
}

Mapped::~Mapped() {
  if (data_) munmap(data_, length_);
}

}  // namespace sonde
