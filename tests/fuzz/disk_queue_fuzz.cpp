// SPDX-License-Identifier: Apache-2.0
// Whatever a disk, a crash or another program made of the queue's files: it opens, gives what is whole, and works on.
// Layers: export
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/export/disk_queue.h"
#include "tests/fuzz/support.h"

namespace fs = std::filesystem;

namespace {

// In memory where possible: a disk would take most of the time. Removed when the program ends.
struct Directory {
  const fs::path path = (fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                        ("sonde-fuzz-" + std::to_string(getpid()));
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

const fs::path& directory() {
  static const Directory kept;
  return kept.path;
}

void write(const std::string& name, std::string_view content) {
  std::ofstream(directory() / name, std::ios::binary) << content;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace sonde;
  constexpr uint64_t kLimit = 64 << 10;
  fs::remove_all(directory());
  fs::create_directory(directory());
  fuzz::Input input(data, size);
  const std::size_t cursor = input.byte() % 32;
  const std::size_t first = input.number(2);
  const std::string_view rest = input.rest();
  write("cursor", rest.substr(0, cursor));
  write("segment-1.q", rest.substr(std::min(cursor, rest.size()), first));
  write("segment-2.q", rest.substr(std::min(cursor + first, rest.size())));

  auto queue = DiskQueue::open(directory().string(), kLimit);
  fuzz::require(static_cast<bool>(queue));
  fuzz::require(static_cast<bool>((*queue)->push("a request", 7)));
  bool found = false;
  for (std::size_t i = 0; i < size + 2; ++i) {  // more cannot be in there
    const auto record = (*queue)->front();
    if (!record) break;
    found = record->bytes == "a request" && record->points == 7;
    (*queue)->pop();
  }
  fuzz::require(found);  // what is pushed last comes out last, whatever lay before it
  fuzz::require(!(*queue)->front() && (*queue)->records() == 0 && (*queue)->bytes() == 0);
  return 0;
}
