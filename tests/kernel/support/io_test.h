// SPDX-License-Identifier: Apache-2.0
// Fixture of the io probe's kernel tests. They run by the tracepoints, which every kernel has; what depends on the way
// calls are seen runs by fentry again, in one test, since its many programs take long to load on emulated machines.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bpf/modules/io/io.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/must.h"

namespace sonde::test {

inline constexpr uint8_t kIoStandard = IO_BYTES | IO_OPERATIONS | IO_ERRORS;
inline constexpr uint8_t kIoDetailed = kIoStandard | IO_DETAIL | IO_STREAM | IO_OPEN_COUNT | IO_URING;

// No memory is mapped there; the compiler is not to know.
inline char* bad_address() {
  static volatile uintptr_t address = 16;
  return reinterpret_cast<char*>(address);
}

// An unlinked regular file with `size` bytes.
inline int scratch_file(std::size_t size, const char* directory = "/dev/shm") {
  std::string name = std::string(directory) + "/sonde-io-XXXXXX";
  const int fd = mkstemp(name.data());
  if (fd >= 0) unlink(name.c_str());
  if (fd >= 0 && size && ftruncate(fd, static_cast<off_t>(size))) return -1;
  return fd;
}

class IoTest : public KernelTest {
 protected:
  virtual const char* alternative() const { return "tracepoints"; }
  bool by_fentry() const { return alternative() == std::string_view("fentry"); }

  EngineOptions options() const override {
    EngineOptions wanted = only("io");
    wanted.alternative = alternative();
    return wanted;
  }

  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    report_ = engine().modules()[module_id("io")];
    if (report_.alternative == alternative()) return;
    std::string reasons;
    for (const auto& reason : report_.reasons) reasons += reason + "; ";
    ASSERT_TRUE(by_fentry()) << reasons;
    GTEST_SKIP() << reasons;
  }

  // Forgets what was counted so far: several scenarios may follow each other in one test.
  void start_over() {
    collect();
    totals_ = {};
    lost_ = losses("io");
  }
  uint64_t lost() { return losses("io") - lost_; }

  // A cgroup of its own with these flags.
  Cgroup& selected(const std::string& name, uint8_t flags, uint16_t sample = 1) {
    Cgroup& box = cgroup(name);
    select(box, {{"io", flags}}, sample);
    return box;
  }

  int64_t bytes(const Cgroup& box, const char* direction) { return total(box, "sonde.file.io", {direction}); }
  uint64_t calls(const Cgroup& box, const char* operation) {
    return histogram(box, "sonde.file.operation.duration", {operation}).count;
  }
  int64_t errors(const Cgroup& box, const char* operation, const char* error) {
    return total(box, "sonde.file.operation.errors", {operation, error});
  }
  int64_t stream_bytes(const Cgroup& box, const char* target, const char* direction) {
    return total(box, "sonde.stream.io", {target, direction});
  }
  Totals::Histogram waits(const Cgroup& box, const char* target, const char* direction) {
    return histogram(box, "sonde.stream.wait.duration", {target, direction});
  }
  // All that was counted on files: bytes, calls, errors.
  uint64_t on_files(const Cgroup& box) {
    uint64_t sum = 0;
    for (const auto& [name, value] : totals_.values[slot_of(box)])
      if (name.starts_with("sonde.file.io") || name.starts_with("sonde.file.operation"))
        sum += static_cast<uint64_t>(value);
    for (const auto& [name, value] : totals_.histograms[slot_of(box)])
      if (name.starts_with("sonde.file.operation")) sum += value.count;
    return sum;
  }
  bool is_attached(const std::string& program) {
    for (const auto& one : engine().modules()[module_id("io")].programs)
      if (one.name == program) return one.state == ProgramState::Attached;
    return false;
  }

  ModuleReport report_;

 private:
  uint64_t lost_ = 0;
};

}  // namespace sonde::test
